"""What the base installation does, and what a command says whose extra is missing."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import mtc
from mtc.errors import UsageError
from mtc.extras import EXTRAS, need

pytestmark = pytest.mark.slow

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
PROJECT = Path(__file__).parents[1] / "pyproject.toml"
BLOCK = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

BLOCKED = set(sys.argv.pop(1).split(","))
sys.meta_path.insert(0, Block())
from mtc.cli import main
main()
"""
OPTIONAL = sorted({module for modules in EXTRAS.values() for module in modules})
SERVED = sorted(set(OPTIONAL) - set(EXTRAS["serve"]))
DISTRIBUTIONS = {
    "captum": "captum", "confluent_kafka": "confluent-kafka", "imblearn": "imbalanced-learn",
    "multipart": "python-multipart", "pcapy": "pcapy-ng", "prometheus_client": "prometheus-client",
    "python_multipart": "python-multipart", "sklearn": "scikit-learn", "starlette": "fastapi",
    "tensorboardX": "tensorboardX",
}  # fmt: skip


def run(*arguments: str, blocked: list[str] = OPTIONAL) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", BLOCK, ",".join(blocked), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["models"], "iscx"),
        (["inspect", str(DEMO), "--json"], '"packets": 1140'),
        (["classify", str(DEMO), "--format", "json"], '"community_id"'),
        (["classify", str(DEMO), "--reject", "--by", "host", "--format", "csv"], "host,"),
        (["watch", str(DEMO)], '"event_type":"stats"'),
    ],
)  # fmt: skip
def test_the_base_needs_no_extra(arguments: list[str], expected: str) -> None:
    done = run(*arguments)
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_the_demo_needs_no_extra(tmp_path: Path) -> None:
    done = run("demo", "--out", str(tmp_path / "demo"))
    assert done.returncode == 0, done.stderr


def test_serve_needs_only_its_own() -> None:
    code = "import sys; sys.argv.insert(1, sys.argv.pop(1))" + BLOCK.replace(
        "from mtc.cli import main\nmain()", "import mtc.serving.http.app, mtc.serving.http.work.warm"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, ",".join(SERVED)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["train", "iscx-mtc", "--data", "nowhere", "--out", "nothing"], "train"),
        (["sweep", "iscx-mtc", "--data", "nowhere", "--out", "nothing"], "sweep"),
        (["evaluate", "nowhere"], "train"),
        (["report", "nowhere", "--out", "nothing"], "report"),
        (["dataset", "iscx", "nowhere", "nothing"], "train"),
        (["serve"], "serve"),
        (["export", "iscx", "--out", "nothing.onnx"], "onnx"),
        (["classify", str(DEMO), "--out", "nothing.parquet"], "parquet"),
        (["watch", "lo"], "live"),
        (["classify", str(DEMO), "--filter", "tcp"], "live"),
        (["classify", str(DEMO), "--ndpi"], "ndpi"),
        (["classify", str(DEMO), "--on", "ray"], "ray"),
    ],
)
def test_one_line_says_which_extra_is_missing(arguments: list[str], extra: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", BLOCK, ",".join(OPTIONAL), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    lines = [line for line in done.stderr.splitlines() if "compiling kernels" not in line]
    assert re.fullmatch(rf"mtc: this needs \w+: pip install 'mtc-traffic\[{extra}\]'", lines[-1])
    assert len(lines) == 1
    assert not list(tmp_path.iterdir())


def test_each_extra_installs_what_it_is_named_for() -> None:
    extras = tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"]

    def distributions(extra: str) -> set[str]:
        found = set()
        for line in extras[extra]:
            name, _, inner = re.split(r"[<>=]", line)[0].partition("[")
            if name == "mtc-traffic":
                found |= set.union(*map(distributions, inner.rstrip("]").split(",")))
            else:
                found.add(name)
        return found

    for extra, modules in EXTRAS.items():
        assert {DISTRIBUTIONS.get(module, module) for module in modules} == distributions(extra)
    assert distributions("all") == set.union(*(distributions(extra) for extra in EXTRAS))


def test_a_module_that_no_extra_installs_stays_an_import_error() -> None:
    with pytest.raises(ModuleNotFoundError):
        need("mtc.no_such_module")


def test_the_recommended_extra_is_one_that_installs_the_module(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"\[parquet\]"):
        need("pyarrow")
    with pytest.raises(UsageError, match=r"\[report\]"):
        need("pyarrow", extra="report")
    with pytest.raises(UsageError, match=r"\[parquet\]"):
        need("pyarrow", extra="kafka")
