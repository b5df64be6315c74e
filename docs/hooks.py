"""Pages of the documentation that are made from the code: the reference of commands."""

from typing import Any

import click
from mkdocs.structure.files import File, Files
from typer.main import get_command

from mtc.cli import COMMANDS, app
from mtc.cli import _load_command as load_command

_PAGE = "reference/commands.md"


def on_files(files: Files, config: Any) -> Files:
    """Add the reference of commands."""
    files.append(File.generated(config, _PAGE, content=_commands()))
    return files


def _commands() -> str:
    lines = ["# Commands", "", "Data goes to standard output, messages to standard error.", ""]
    root = get_command(app)
    for name in COMMANDS:
        lines += _describe(load_command(name), f"mtc {name}", 2, click.Context(root, info_name="mtc"))
    return "\n".join(lines)


def _describe(command: Any, name: str, level: int, parent: Any) -> list[str]:
    context = click.Context(command, info_name=name.rpartition(" ")[2], parent=parent)
    lines = [f"{'#' * level} {name}", "", _plain(command.help or ""), ""]
    children = getattr(command, "commands", {})
    if children:
        for child in children.values():
            lines += _describe(child, f"{name} {child.name}", level + 1, context)
        return lines
    lines += ["```text", f"{name} {' '.join(command.collect_usage_pieces(context))}", "```", ""]
    rows = [record for parameter in command.get_params(context) if (record := _record(parameter, context))]
    if rows:
        lines += ["| argument or option | meaning |", "|---|---|", *rows, ""]
    return lines


def _record(parameter: Any, context: Any) -> str:
    if parameter.param_type_name == "argument":
        name, text = parameter.metavar or str(parameter.name).upper(), getattr(parameter, "help", "") or ""
    else:
        found = parameter.get_help_record(context)
        if found is None:
            return ""
        name, text = found
    return f"| `{_cell(name)}` | {_cell(_plain(text))} |"


def _plain(text: str) -> str:
    """Help without rich's markup."""
    return text.replace("[dim]", "`").replace("[/dim]", "`").replace("\\[", "[")


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())
