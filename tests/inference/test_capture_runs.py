"""Where captures are classified changes nothing."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mtc.capture import expand_inputs
from mtc.errors import CaptureError, UsageError
from mtc.inference import Classifier, VerdictSettings
from mtc.parallel import Workers


@pytest.fixture
def folder(short_capture: Path, tmp_path: Path) -> Path:
    """Captures of many sizes, one of them damaged, one empty, one without packets."""
    captures = tmp_path / "captures"
    captures.mkdir()
    data = short_capture.read_bytes()
    for name, size in (("a", len(data)), ("b", 24), ("c", len(data) // 3), ("e", len(data) // 2)):
        (captures / f"{name}.pcap").write_bytes(data[:size])
    (captures / "d.pcap").write_bytes(data[:24])
    shutil.copy(captures / "c.pcap", captures / "f.pcap")
    return captures


def _classify(classifier: Classifier, folder: Path, per: str, workers: Workers) -> tuple[list, list, list]:
    problems: list[str] = []
    ends: list = []
    classify = classifier.classify_sources if per == "flow" else classifier.classify_packets
    inputs = [*expand_inputs([folder, folder / "missing.pcap"])]
    settings = VerdictSettings(packets=4) if per == "flow" else VerdictSettings()
    rows = [
        row
        for piece in classify(inputs, problems, settings=settings, workers=workers, on_end=ends.append)
        for row in piece
    ]
    return rows, problems, ends


@pytest.mark.slow
def test_two_processes_give_the_same_rows_in_the_same_order(tiny_model: Path, folder: Path) -> None:
    classifier = Classifier.load(tiny_model)
    here = _classify(classifier, folder, "flow", Workers())
    assert _classify(classifier, folder, "flow", Workers(2)) == here
    rows, problems, ends = here
    assert [Path(problem.split(":")[0]).name for problem in problems] == [
        "c.pcap",
        "e.pcap",
        "f.pcap",
        "missing.pcap",
    ]
    assert [Path(end.capture).name[0] for end in ends] == list("abcdef")
    assert len({(row["flow"], row["capture"]) for row in rows}) == len({row["flow"] for row in rows})


def _in_one_process(function: Callable, items: list, *others: object, **options: object) -> Iterator:
    """All that workers do, in this process."""
    return (function(item, lambda units: None) for item in items)


def test_packets_judged_elsewhere_are_the_same(
    tiny_model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtc.inference.capture_runs.ordered_map", _in_one_process)
    classifier = Classifier.load(tiny_model)
    here = _classify(classifier, folder, "packet", Workers())
    assert _classify(classifier, folder, "packet", Workers(2)) == here
    assert len(here[0]) > 50


@pytest.mark.slow
def test_two_workers_on_ray_give_the_same(tiny_model: Path, folder: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mtc-traffic[ray]'")
    classifier = Classifier.load(tiny_model)
    here = _classify(classifier, folder, "flow", Workers())
    assert _classify(classifier, folder, "flow", Workers(2, "ray")) == here


def test_ray_is_asked_for_and_missing(
    tiny_model: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"mtc-traffic\[ray\]"):
        _classify(Classifier.load(tiny_model), folder, "flow", Workers(on="ray"))


def test_nothing_readable_elsewhere_is_an_error(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtc.inference.capture_runs.ordered_map", _in_one_process)
    classifier = Classifier.load(tiny_model)
    sources = [*expand_inputs([tmp_path / "a.pcap", tmp_path / "b.pcap"])]
    problems: list[str] = []
    with pytest.raises(CaptureError, match=r"b\.pcap"):
        list(classifier.classify_sources(sources, problems, workers=Workers(2)))
    assert len(problems) == 1
    assert "a.pcap" in problems[0]


def test_workers_need_a_model_that_they_can_load(tiny_model: Path) -> None:
    nameless = Classifier(Classifier.load(tiny_model).model)
    with pytest.raises(UsageError, match="loaded by its name"):
        nameless.classify_sources([], [], workers=Workers(2))


def test_first_flow_is_all_that_differs(tiny_model: Path, short_capture: Path) -> None:
    first, second = Classifier.load(tiny_model).classify(short_capture, short_capture).captures
    assert second.first_flow == len(first) + 1
    assert [row | {"flow": 0} for row in first] == [
        row | {"flow": 0} for row in replace(second, first_flow=1)
    ]
