"""The line delays, limits and loses packets as it is told to, the same way for the same seed."""

from itertools import pairwise

from mtc.laboratory.line import _Direction
from mtc.laboratory.plans import Line


def times(
    line: Line, seed: int = 1, count: int = 2000, size: int = 1000, gap: float = 0.01
) -> list[float | None]:
    direction = _Direction(line, seed)
    return [direction.leaves(number * gap, size) for number in range(count)]


def test_a_packet_arrives_after_the_delay() -> None:
    assert times(Line(delay_ms=20, rate_mbit_s=0), count=3) == [0.02, 0.03, 0.04]


def test_the_rate_spaces_packets_out_and_a_full_queue_drops() -> None:
    arrivals = times(Line(delay_ms=0, rate_mbit_s=8), gap=0.0)
    kept = [arrival for arrival in arrivals if arrival is not None]
    assert kept[:3] == [0.001, 0.002, 0.003]
    assert 495 <= len(kept) <= 505, "half a second of the rate is queued, the rest dropped"


def test_jitter_keeps_the_order() -> None:
    arrivals = [time for time in times(Line(delay_ms=20, jitter_ms=10), gap=0.001) if time is not None]
    assert arrivals == sorted(arrivals)
    assert len({round(b - a, 6) for a, b in pairwise(arrivals)}) > 100


def test_loss_is_drawn_from_the_seed() -> None:
    line = Line(loss_percent=5)
    first = [time is None for time in times(line)]
    assert first == [time is None for time in times(line)]
    assert first != [time is None for time in times(line, seed=2)]
    assert 60 <= sum(first) <= 140
