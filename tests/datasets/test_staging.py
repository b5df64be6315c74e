"""What is put aside of a capture, by how much may wait in memory."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mtc.capture import expand_inputs
from mtc.datasets.arrow import plain_values, read_batches
from mtc.datasets.build import staging
from mtc.datasets.build.rules import Rule
from mtc.datasets.build.staging import LabelledCapture, draw_purpose, stage_capture
from mtc.datasets.ragged import keyed_draws

PACKETS, LIMIT = 30_000, 500


@pytest.mark.parametrize("waiting", [0, 20_000, 48 << 20])
def test_the_smallest_draws_are_put_aside(
    waiting: int, tmp_path: Path, write_capture: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(staging, "_BYTES_WAITING", waiting)
    path = write_capture(
        tmp_path / "a.pcap", [(40_000 + i % 7, 443, i.to_bytes(2, "big")) for i in range(PACKETS)]
    )
    (source,) = expand_inputs([path])
    capture = LabelledCapture("a", "a.pcap", source, (Rule({"kind": "one"}),))
    read, _ = stage_capture(capture, tmp_path / "rows", seed=1, limits=[LIMIT], decapsulate=True)
    assert read.samples == PACKETS
    batches = list(read_batches(tmp_path / "rows"))
    staged = np.concatenate([plain_values(batch["packet"]) for batch in batches])
    draws = keyed_draws(1, draw_purpose("a"), np.arange(1, PACKETS + 1))
    smallest = np.sort(np.argsort(draws)[:LIMIT] + 1)
    assert np.isin(smallest, staged).all()
    assert np.array_equal(np.sort(staged), staged)
    if waiting > 20_000:
        assert np.array_equal(staged, smallest)
