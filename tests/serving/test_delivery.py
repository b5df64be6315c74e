"""Delivery over times when a sink is down: order, nothing lost that the buffer holds, the rest counted."""

import time
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from waiting import wait_for

from mtc.errors import OutputError
from mtc.serving.sinks import Delivery, SinkDown, SinkRefused, Spool, delivery


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(delivery, "FIRST_WAIT_S", 0.02)
    monkeypatch.setattr(delivery, "LONGEST_WAIT_S", 0.05)
    monkeypatch.setattr(delivery, "LINGER_S", 0.01)


class FakeSink:
    """A sink that can be down, and that refuses what holds ``bad``."""

    def __init__(self) -> None:
        self.down = False
        self.taken: list[str] = []
        self.closed = False

    def send(self, lines: Sequence[str]) -> None:
        if self.down:
            raise SinkDown("unplugged")
        if any("bad" in line for line in lines):
            raise SinkRefused("no")
        self.taken += lines

    def close(self) -> None:
        self.closed = True


def lines_of(start: int, stop: int) -> list[str]:
    return [f'{{"number":{number}}}' for number in range(start, stop)]


def test_order_is_kept_over_an_outage(tmp_path: Path) -> None:
    sink = FakeSink()
    running = Delivery("fake", sink, Spool(tmp_path, 1 << 20))
    running.start()
    for line in lines_of(0, 50):
        running.put(line)
    wait_for(lambda: len(sink.taken) == 50)
    sink.down = True
    for line in lines_of(50, 1200):
        running.put(line)
    wait_for(lambda: running.status()["spooled_bytes"] and running.status()["waiting"] == 1150)
    told = running.status()
    assert (told["up"], told["lost"], told["error"]) == (False, 0, "unplugged")
    sink.down = False
    for line in lines_of(1200, 1300):
        running.put(line)
    wait_for(lambda: len(sink.taken) == 1300)
    assert sink.taken == lines_of(0, 1300)
    assert running.finish(100) == 0
    assert running.status() == {
        "sink": "fake", "up": True, "delivered": 1300, "waiting": 0, "spooled_bytes": 0, "lost": 0,
    }  # fmt: skip
    assert sink.closed


def test_what_the_buffer_cannot_hold_is_counted(tmp_path: Path) -> None:
    sink = FakeSink()
    sink.down = True
    running = Delivery("fake", sink, Spool(tmp_path, 2000), memory_lines=100)
    running.start()
    for line in lines_of(1000, 1500):
        running.put(line)
        time.sleep(0.0005)
    # On its way to disk an event can be counted twice.
    wait_for(lambda: running.status()["waiting"] + running.lost == 500)
    told = running.status()
    assert told["lost"] > 0
    assert told["spooled_bytes"] <= 2000
    sink.down = False
    wait_for(lambda: running.status()["waiting"] == 0)
    assert len(sink.taken) == 500 - told["lost"] == running.delivered
    assert sink.taken == sorted(sink.taken)
    running.finish(100)


def test_a_killed_process_leaves_its_events_to_the_next(tmp_path: Path) -> None:
    sink = FakeSink()
    sink.down = True
    first = Delivery("fake", sink, Spool(tmp_path, 1 << 20))
    first.start()
    for line in lines_of(0, 700):
        first.put(line)
    assert first.finish(0.1) == 700
    sink.down = False
    second = Delivery("fake", sink, Spool(tmp_path, 1 << 20))
    second.put('{"number":700}')
    second.start()
    wait_for(lambda: len(sink.taken) == 701)
    assert sink.taken == lines_of(0, 701)
    second.finish(100)


def test_without_a_buffer_what_is_left_at_the_end_is_lost(tmp_path: Path) -> None:
    sink = FakeSink()
    sink.down = True
    running = Delivery("fake", sink, None)
    running.start()
    for line in lines_of(0, 10):
        running.put(line)
    running.finish(0.1)
    assert running.status()["lost"] == 10


def test_refused_events_are_found_and_counted(tmp_path: Path) -> None:
    sink = FakeSink()
    running = Delivery("fake", sink, Spool(tmp_path, 1 << 20))
    lines = lines_of(0, 100)
    lines[37] = lines[80] = "bad"
    for line in lines:
        running.put(line)
    running.start()
    running.finish(100)
    assert sink.taken == [line for line in lines if line != "bad"]
    assert (running.lost, running.delivered) == (2, 98)


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.one_of(
            st.lists(
                st.text(st.characters(codec="utf-8", exclude_characters="\n\r"), max_size=30), max_size=9
            ),
            st.integers(1, 12),
            st.none(),
        ),
        max_size=25,
    )
)
def test_spool_is_a_bounded_queue(tmp_path_factory: pytest.TempPathFactory, steps: list[object]) -> None:
    folder = tmp_path_factory.mktemp("spool")
    spool, expected = Spool(folder, 300), list[str]()
    for step in steps:
        if isinstance(step, list):
            taken = spool.append(step)
            expected += step[:taken]
            size = sum(len(line.encode()) + 1 for line in expected)
            assert taken == len(step) or size + len(step[taken].encode()) + 1 > 300 - 75
        elif isinstance(step, int):
            lines = spool.peek(step)
            assert lines == expected[: len(lines)]
            assert bool(lines) == bool(expected)
            if lines:
                spool.forget(len(lines))
                expected = expected[len(lines) :]
        else:
            spool.close()
            spool = Spool(folder, 300)
        assert spool.lines == len(expected)
        assert spool.bytes == sum(len(line.encode()) + 1 for line in expected) <= 300
    spool.close()


def test_spool_forgets_a_line_that_was_cut(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    spool.append(["one", "two"])
    spool.close()
    (segment,) = tmp_path.glob("*.jsonl")
    segment.write_bytes(segment.read_bytes() + b'{"half')
    spool = Spool(tmp_path, 1000)
    assert spool.append(["three"]) == 1
    lines = spool.peek(9)
    spool.forget(len(lines))
    assert lines + spool.peek(9) == ["one", "two", "three"]
    spool.close()


def test_spool_is_of_one_process(tmp_path: Path) -> None:
    spool = Spool(tmp_path, 1000)
    with pytest.raises(OutputError, match="in use"):
        Spool(tmp_path, 1000)
    spool.close()


def test_spool_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        Spool(tmp_path / "file" / "spool", 1000)
