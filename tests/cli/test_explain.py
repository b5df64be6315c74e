import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("captum")


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """How exact the integral is, is not asked here but in tests/inference/test_explain.py."""
    monkeypatch.setattr("mtc.inference.explain.attribution.STEPS", (8,))


def test_shows_fields_and_bytes(mtc: Callable[..., Any], tiny_model: Path, short_capture: Path) -> None:
    from mtc.flows import read_samples

    number = int(read_samples(str(short_capture)).headers["packet"][0])
    arguments = ("explain", short_capture, "--packet", number, "--model", tiny_model, "--task", "traffic")
    shown = mtc(*arguments)
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith("traffic: ")
    assert "0000  45 " in shown.out
    assert "transformer" in shown.out

    found = json.loads(mtc(*arguments, "--json").out)
    assert (found["packet"], found["task"]) == (number, "traffic")
    assert found["label"] in shown.out
    total = sum(found["fields"].values())
    assert total == pytest.approx(found["logit"] - found["baseline"] + found["error"], abs=1e-4)
    assert total == pytest.approx(sum(sum(part.values()) for part in found["parts"].values()), abs=1e-4)
    assert sum(found["bytes"]) == pytest.approx(total, abs=1e-3)
    assert len(found["attention"]) == 30


def test_says_that_a_packet_is_not_there(
    mtc: Callable[..., Any], tiny_model: Path, short_capture: Path
) -> None:
    done = mtc("explain", short_capture, "--packet", 100_000, "--model", tiny_model)
    assert done.status == 2
    assert "packet 100000 is not there" in done.err
    assert done.err.count("\n") == 1


def test_draws_a_figure_and_shows_attention(
    mtc: Callable[..., Any], tiny_model: Path, short_capture: Path, tmp_path: Path
) -> None:
    from mtc.flows import read_samples

    number = int(read_samples(str(short_capture)).headers["packet"][0])
    arguments = ("explain", short_capture, "--packet", number, "--model", tiny_model)
    done = mtc(*arguments, "--figure", tmp_path / "reason.svg")
    assert (done.status, done.err) == (0, "")
    assert "bytes 0-49" in done.out
    assert "padding, " in done.out
    drawn = (tmp_path / "reason.svg").read_text()
    assert "part of the logit" in drawn
    assert "ip_ttl" in drawn
    again = mtc(*arguments, "--figure", tmp_path / "reason.svg")
    assert again.status == 2
    assert "--force" in again.err
    assert mtc(*arguments, "--figure", tmp_path / "reason.png", "--json").status == 0
    assert (tmp_path / "reason.png").read_bytes().startswith(b"\x89PNG")
    assert "ends in .svg or .png" in mtc(*arguments, "--figure", tmp_path / "reason.pdf").err


def test_of_a_dataset_the_classes_are_explained(
    mtc: Callable[..., Any], tiny_model: Path, shared_data: Path, tmp_path: Path
) -> None:
    dataset = tmp_path / "data"
    assert mtc("dataset", "iscx", shared_data / "iscx-mini", dataset).status == 0
    arguments = ("explain", dataset, "--model", tiny_model, "--task", "auxiliary", "--per-class", 1)
    shown = mtc(*arguments, "--figure", tmp_path / "classes.svg")
    assert shown.status == 0
    found = json.loads(mtc(*arguments, "--json").out)
    assert (found["task"], found["part"], len(found["classes"])) == ("auxiliary", "test", 6)
    for one in found["classes"]:
        assert one["label"] in shown.out
        assert one["label"] in (tmp_path / "classes.svg").read_text()
        assert one["packets"] == 1
        assert one["fields"]
    refused = mtc("explain", dataset, "--packet", 1)
    assert (refused.status, refused.err.count("\n")) == (2, 1)
    assert "of a dataset, classes are shown" in refused.err


def test_a_capture_needs_a_packet(mtc: Callable[..., Any], short_capture: Path) -> None:
    done = mtc("explain", short_capture)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert "--packet N" in done.err
