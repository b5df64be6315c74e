"""The ordered map gives the same results in the same order wherever it runs."""

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from mtc.errors import CaptureError, UsageError
from mtc.parallel import Advance, WorkerLost, Workers, ordered_map

PLACES = [Workers(), Workers(1), Workers(2)]


def square(item: int, advance: Advance) -> tuple[int, int]:
    advance(item)
    time.sleep(0.05 if item == 0 else 0)  # the first is the last to be ready
    return item * item, os.getpid()


def fail(item: int, advance: Advance) -> int:
    if item == 2:
        raise CaptureError("two: cannot be read")
    return item


def die(item: int, advance: Advance) -> int:
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


@pytest.mark.parametrize("workers", PLACES, ids=str)
@pytest.mark.parametrize("ahead", [1, None])
def test_results_are_in_order_and_progress_adds_up(workers: Workers, ahead: int | None) -> None:
    seen: dict[int, int] = {}

    def progress(item: int, units: int) -> None:
        seen[item] = seen.get(item, 0) + units

    found = list(ordered_map(square, range(7), workers, ahead=ahead, progress=progress))
    assert [value for value, _ in found] == [n * n for n in range(7)]
    assert {item: units for item, units in seen.items() if units} == {n: n for n in range(1, 7)}
    assert ({pid for _, pid in found} == {os.getpid()}) == workers.here


@pytest.mark.parametrize("workers", PLACES, ids=str)
def test_what_the_function_raises_is_raised_in_its_turn(workers: Workers) -> None:
    results = ordered_map(fail, range(4), workers)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(CaptureError, match="two: cannot be read"):
        next(results)


def test_a_killed_worker_is_one_clear_error() -> None:
    with pytest.raises(WorkerLost, match="was killed"):
        list(ordered_map(die, range(4), Workers(2)))


def test_items_that_cannot_move_are_computed_here() -> None:
    found = list(ordered_map(square, range(4), Workers(2), movable=lambda item: item != 1))
    assert [pid == os.getpid() for _, pid in found] == [False, True, False, False]


def test_in_this_process_items_are_taken_one_by_one() -> None:
    taken = []

    def items() -> "object":
        for n in range(3):
            taken.append(n)
            yield n

    results = ordered_map(lambda item, advance: threading.get_ident(), items(), Workers())  # type: ignore[arg-type]
    assert next(results) == threading.get_ident()
    assert taken == [0]


def test_a_count_is_chosen_by_the_amount_of_work() -> None:
    assert Workers().fit(0, 5).here
    assert Workers().fit(1 << 40, 1).here
    assert Workers(3).fit(0, 1) == Workers(3)
    assert (Workers().fit(1 << 40, 64).count or 0) >= 1


def test_workers_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="at least 1 worker"):
        Workers(0)
    with pytest.raises(UsageError, match="local or ray"):
        Workers(on="moon")  # type: ignore[arg-type]
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UsageError, match=r"pip install 'mtc-traffic\[ray\]'"):
        Workers(on="ray")


def where_it_runs(item: Path, advance: Advance) -> tuple[str, int]:
    advance(item.stat().st_size)
    return item.read_text(), os.getpid()


@pytest.mark.slow
def test_ray_gives_the_same(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'mtc-traffic[ray]'")
    paths = [tmp_path / str(n) for n in range(4)]
    for path in paths:
        path.write_text(path.name * 3)
    units: list[int] = []
    found = list(
        ordered_map(
            where_it_runs,
            paths,
            Workers(2, "ray"),
            files=lambda path: (path,),
            progress=lambda item, done: units.append(done),
        )
    )
    assert [text for text, _ in found] == [path.name * 3 for path in paths]
    assert os.getpid() not in {pid for _, pid in found}
    assert units == [3] * 4
    with pytest.raises(UsageError, match="standard input"):
        list(ordered_map(where_it_runs, paths, Workers(2, "ray"), movable=lambda path: path is not paths[1]))
