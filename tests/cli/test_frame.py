import json
import subprocess
import sys
from collections.abc import Callable

import pytest

from mtc import __version__
from mtc.cli import COMMANDS
from mtc.errors import InputError

HEAVY = ("torch", "numba", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "lightning")


HELP = f"""
import contextlib, io, json, sys
from mtc.cli import COMMANDS, app
known = set()
for command in ("", *COMMANDS):
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        try:
            app([*command.split(), "--help"], prog_name="mtc")
        except SystemExit as end:
            status = end.code
    heavy = {{name for name in {HEAVY!r} if name in sys.modules}} - known
    known |= heavy
    print(json.dumps([command, [status, said.getvalue(), sorted(heavy)]]))
"""


@pytest.fixture(scope="module")
def helped() -> dict[str, tuple[int, str, list[str]]]:
    """Command -> status and text of its help, and heavy modules that it imported; one process for all."""
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, timeout=200)
    assert (done.returncode, done.stderr) == (0, "")
    return dict(map(json.loads, done.stdout.splitlines()))


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_imports_no_heavy_module(command: str, helped: dict[str, tuple[int, str, list[str]]]) -> None:
    status, text, heavy = helped[command]
    assert (status, heavy) == (0, [])
    assert f"Usage: mtc {command}".rstrip() in text


def test_help_names_every_command(mtc: Callable) -> None:
    result = mtc("--help")
    assert result.status == 0
    assert all(name in result.out for name in COMMANDS)


def test_version(mtc: Callable) -> None:
    assert mtc("--version").out == f"mtc {__version__}\n"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mtc", "--version"], capture_output=True, text=True, timeout=200
    )
    assert done.stdout == f"mtc {__version__}\n"


@pytest.mark.parametrize("arguments", [["nonsense"], ["models", "--nonsense"], ["classify"], ["--nonsense"]])
def test_wrong_usage_is_status_2(mtc: Callable, arguments: list[str]) -> None:
    result = mtc(*arguments)
    assert result.status == 2
    assert "Usage:" in result.err
    assert "Traceback" not in result.err


def _replace_models(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    import mtc.cli.models

    def models() -> None:
        raise error

    monkeypatch.setattr(mtc.cli.models, "models", models)


def test_expected_errors_are_one_line(mtc: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_models(monkeypatch, InputError("a.pcap: two\nlines"))
    result = mtc("models")
    assert (result.status, result.err) == (2, "mtc: a.pcap: two lines\n")


def test_interruption_is_status_130(mtc: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_models(monkeypatch, KeyboardInterrupt())
    assert mtc("models").status == 130


def test_defects_keep_their_traceback(mtc: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    _replace_models(monkeypatch, ZeroDivisionError("a defect"))
    with pytest.raises(ZeroDivisionError):
        mtc("models")


def test_a_reader_that_goes_away_is_no_defect() -> None:
    script = "import sys; from mtc.cli import app; app(['models', '--json'])"
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.wait(timeout=200) == 141
        assert process.stderr.read() == ""
