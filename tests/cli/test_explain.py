import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("captum")


def test_shows_fields_and_bytes(mtc: Callable[..., Any], tiny_model: Path, short_capture: Path) -> None:
    from mtc.packets import read_samples

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
