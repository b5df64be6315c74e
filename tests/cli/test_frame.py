import subprocess
import sys
from collections.abc import Callable

import pytest

from mtc import __version__
from mtc.cli import COMMANDS
from mtc.errors import InputError

HEAVY = ("torch", "numba", "numpy", "pandas", "pyarrow", "scipy", "sklearn", "lightning")


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)], ids=" ".join)
def test_help_imports_no_heavy_module(arguments: list[str]) -> None:
    script = (
        "import sys; from mtc.cli import app\n"
        f"try: app({arguments!r})\n"
        f"finally: sys.stderr.write(' '.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


def test_help_names_every_command(mtc: Callable) -> None:
    result = mtc("--help")
    assert result.status == 0
    assert all(name in result.out for name in COMMANDS)


def test_version(mtc: Callable) -> None:
    assert mtc("--version").out == f"mtc {__version__}\n"


def test_the_package_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mtc", "--version"], capture_output=True, text=True, timeout=60
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
        assert process.wait(timeout=60) == 141
        assert process.stderr.read() == ""
