import json
from collections.abc import Callable
from ipaddress import ip_address, ip_network
from pathlib import Path

import pytest

import mtc as package
from mtc.inference import FlowVerdicts
from mtc.tasks import ISCX

ASSETS = Path(package.__file__).parent / "assets"
TRUTH = json.loads((ASSETS / "demo.json").read_text())["flows"]


def _ends(flow: dict) -> tuple:
    ends = sorted([(flow["src"], flow["src_port"]), (flow["dst"], flow["dst_port"])])
    return (flow["protocol"], *ends)


def test_the_truth_is_about_the_capture_that_is_shipped() -> None:
    flows = package.read_samples(ASSETS / "demo.pcap").flows.records()
    assert sorted(map(_ends, flows.rows())) == sorted(map(_ends, TRUTH))
    assert (ASSETS / "demo.pcap").stat().st_size < 400_000


def test_the_truth_uses_the_papers_labels_and_documentation_addresses() -> None:
    assert len({flow["traffic"] for flow in TRUTH}) >= 4
    for flow in TRUTH:
        assert flow["application"] is None or flow["application"] in ISCX["application"]
        assert flow["traffic"] in ISCX["traffic"]
        assert ip_address(flow["src"]) in ip_network("192.0.2.0/24")
        assert ip_address(flow["dst"]) in ip_network("192.0.2.0/24")


@pytest.fixture(scope="module")
def verdicts(tiny_model: Path) -> FlowVerdicts:
    return package.Classifier.load(tiny_model).classify(ASSETS / "demo.pcap")


@pytest.fixture
def demo(
    mtc: Callable, tiny_model: Path, verdicts: FlowVerdicts, monkeypatch: pytest.MonkeyPatch
) -> Callable:
    """``mtc demo``, which classifies its capture once for all tests."""

    def classify(self: package.Classifier, capture: Path) -> FlowVerdicts:
        assert capture == ASSETS / "demo.pcap"
        return verdicts

    monkeypatch.setattr(package.Classifier, "classify", classify)
    return lambda *arguments: mtc("demo", "--model", tiny_model, "--out", *arguments)


def test_demo_tells_the_truth_beside_each_verdict(demo: Callable, tmp_path: Path) -> None:
    rows = [json.loads(x) for x in demo(tmp_path, "--json").out.splitlines()]
    by_ends = {_ends(flow): flow for flow in TRUTH}
    assert len(rows) == len(TRUTH)
    for row in rows:
        real = by_ends[_ends(row)]
        assert row["program"] == real["program"]
        for task in ("application", "traffic"):
            known = {True: "right", False: "wrong"}[row[task]["label"] == real[task]]
            assert row["truth"][task] == ("–" if real[task] is None else known)


def test_demo_table_and_report(demo: Callable, tmp_path: Path) -> None:
    result = demo(tmp_path / "demo")
    report = (tmp_path / "demo" / "report.md").read_text()
    assert result.status == 0
    for text in (result.out, report):
        assert "outside the training distribution" in text
        assert all(flow["program"] in text for flow in TRUTH)
        assert "never shown SCP" in text
    assert demo(tmp_path / "demo").status == 0


def test_demo_keeps_a_foreign_report(demo: Callable, tmp_path: Path) -> None:
    (tmp_path / "report.md").write_text("mine")
    result = demo(tmp_path)
    assert (result.status, (tmp_path / "report.md").read_text()) == (2, "mine")
    assert demo(tmp_path, "--force").status == 0


@pytest.fixture
def shelf(monkeypatch: pytest.MonkeyPatch, tiny_model: Path) -> None:
    monkeypatch.setattr("mtc.inference.model_registry.bundled_models", lambda: {"tiny": tiny_model})


@pytest.mark.usefixtures("shelf")
def test_models_lists_tasks_classes_and_notes(mtc: Callable) -> None:
    (model,) = json.loads(mtc("models", "--json").out)
    assert model["name"] == "tiny"
    assert {task: tuple(labels) for task, labels in model["tasks"].items()} == dict(ISCX)
    table = mtc("models").out
    assert "Untrained." in table
    assert "Voipbuster" in table


@pytest.mark.usefixtures("shelf")
def test_a_bundled_name_is_a_model(mtc: Callable, capture: Path) -> None:
    assert mtc("classify", capture, "--model", "tiny").status == 0
    unknown = mtc("classify", capture, "--model", "huge")
    assert (unknown.status, unknown.err) == (
        2,
        "mtc: huge: no such model: not a folder, and bundled are tiny\n",
    )
