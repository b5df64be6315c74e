"""The command ``mtc``: one thin file a command, imported only when that command runs.

Exit status: 0 every input was read to its end; 3 done, but an input was missing, unreadable or
damaged while another, or the part before the damage, was read; 2 wrong usage, nothing could be read,
or the output takes no more; 1 internal error; 130 interrupted; 141 the reader of our output went away.
"""

import contextlib
import errno
import os
import sys
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from mtc import __version__
from mtc.errors import MtcError, OutputError
from mtc.extras import missing_extra
from mtc.numba_cache import report_compiling

__all__ = ["COMMANDS", "app", "main"]

BROKEN_PIPE_STATUS = 141
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of the system by which a place takes no more: no defect of ours."""

# name -> the line that `mtc --help` shows. The command itself is the function of that name in the
# module of that name here, or the module's `app` where the command has commands of its own.
COMMANDS = {
    "demo": "Classify the bundled capture and show what each flow really was.",
    "inspect": "Show what is in a capture: packets, samples, packets skipped by reason, flows.",
    "flows": "Write the flows of captures, or CICFlowMeter's features of them.",
    "dataset": "Build a dataset, or look at one.",
    "train": "Train a model by a recipe.",
    "sweep": "Train a recipe over values of settings and over seeds.",
    "evaluate": "Score a trained model on labelled samples.",
    "compare": "Put runs side by side, with the paper's numbers.",
    "report": "Write tables and figures of runs as a page and as files.",
    "audit": "Find leaks and shortcuts in a dataset, and what its scores are worth.",
    "classify": "Give a verdict for every flow, or every packet, of captures.",
    "watch": "Give verdicts live, from an interface or a capture on standard input.",
    "export": "Write a model as ONNX, checked against the original.",
    "explain": "Show which header fields and bytes of a packet made its verdict.",
    "serve": "Serve verdicts over HTTP, with a web page.",
    "label": "Label the flows of captures by names and protocols, for a model of your own.",
    "learn": "Learn a model of your own traffic: label, train, test without names, write.",
    "drift": "Say how far the traffic of captures has moved from what a model was trained on.",
    "lab": "Record labelled captures of real programs, plain and inside real tunnels.",
    "models": "List the bundled models: tasks, classes, data and honest scores.",
}


_EXTRAS = {
    "dataset": "train", "train": "train", "sweep": "sweep", "evaluate": "train", "compare": "train",
    "learn": "train", "report": "report", "audit": "train", "serve": "serve", "explain": "explain",
    "export": "onnx",
}  # fmt: skip
"""Command -> the extra to recommend when a library is missing; ``mtc.extras`` decides for the others."""


class LazyGroup(TyperGroup):
    """Knows its commands by name and imports the one that runs."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that ``args`` begin with, and import it."""
        name, command, rest = super().resolve_command(ctx, args)
        return name, _load_command(name) if name in COMMANDS else command, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; expected errors become one line on stderr and an exit status."""
        try:
            try:
                result = super().invoke(ctx)
            except typer.Exit:
                sys.stdout.flush()
                raise
            except ModuleNotFoundError as error:
                missing = missing_extra(error, _EXTRAS.get(ctx.invoked_subcommand))
                if missing is None:
                    raise
                raise missing from error
            sys.stdout.flush()
        except MtcError as error:
            typer.echo(f"mtc: {' '.join(str(error).splitlines())}", err=True)
            raise typer.Exit(error.exit_status) from error
        except BrokenPipeError as error:
            _discard_stdout()
            raise typer.Exit(BROKEN_PIPE_STATUS) from error
        return result


def _load_command(name: str) -> Any:
    module = import_module(f"mtc.cli.{name}")
    single = getattr(module, "app", None)
    if single is None:
        single = typer.Typer(add_completion=False, rich_markup_mode="rich")
        single.command(name)(getattr(module, name))
    return typer.main.get_command(single)


def _discard_stdout() -> None:
    # What is still buffered would fail again, loudly, when the interpreter flushes at its end.
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"mtc {__version__}")
        raise typer.Exit


app = typer.Typer(
    cls=LazyGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Classify encrypted traffic: from a capture to a verdict for every flow."""


def _placeholder() -> None:
    raise AssertionError("LazyGroup runs the real command")


for _name, _line in COMMANDS.items():
    app.command(_name, help=_line)(_placeholder)


def main() -> None:
    """Entry point of the command ``mtc``."""
    report_compiling()
    try:
        app(prog_name="mtc")
    except OSError as error:
        if error.errno not in FULL:
            raise
        _discard_stdout()
        place = error.filename or "the output"
        typer.echo(f"mtc: {place}: cannot be written ({error.strerror})", err=True)
        sys.exit(OutputError.exit_status)
