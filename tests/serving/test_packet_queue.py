"""The queue's bounds and counts, and the sampling rate that it drives."""

import threading
import time

import numpy as np
import pytest

from mtc.capture import PacketBatch
from mtc.serving.engine import LEAST, SamplingRate
from mtc.serving.packet_queue import PacketQueue, held_bytes, owned


def batch_of(packets: int, size: int = 100) -> PacketBatch:
    lengths = np.full(packets, size, np.int64)
    return PacketBatch(
        data=np.zeros(packets * size, np.uint8),
        offsets=np.arange(packets) * size,
        caplens=lengths,
        wirelens=lengths,
        timestamps=np.zeros(packets, np.int64),
        link_types=np.ones(packets, np.int32),
        first_packet=1,
    )


def test_drops_and_counts_when_full():
    queue = PacketQueue(3 * held_bytes(batch_of(10)))
    for _ in range(5):
        queue.put(batch_of(10), wait=False)
    assert (queue.packets, queue.dropped, queue.fill) == (30, 20, 1.0)
    assert queue.get(0) is not None
    queue.put(batch_of(10), wait=False)
    assert (queue.packets, queue.dropped) == (30, 20)


def test_waits_for_room_without_loss():
    queue = PacketQueue(held_bytes(batch_of(10)))
    taken = []

    def take():
        while not queue.ended:
            batch = queue.get(0.1)
            if batch is not None:
                time.sleep(0.005)
                taken.append(len(batch))

    reader = threading.Thread(target=take)
    reader.start()
    for _ in range(10):
        queue.put(batch_of(10), wait=True)
    queue.close()
    reader.join(100)
    assert (sum(taken), queue.dropped) == (100, 0)


def test_a_batch_larger_than_the_queue_is_taken_by_an_empty_one():
    queue = PacketQueue(10)
    queue.put(batch_of(10), wait=True)
    assert len(queue.get(0)) == 10


def test_close_wakes_who_waits():
    queue = PacketQueue(10)
    threading.Timer(0.05, queue.close).start()
    began = time.monotonic()
    assert queue.get(200) is None
    assert queue.ended
    assert time.monotonic() - began < 100


def test_owned_is_a_copy_of_the_stretch_in_use():
    data = np.arange(100, dtype=np.uint8)
    batch = batch_of(2, 5)
    batch = PacketBatch(
        data, np.array([20, 40]), batch.caplens, batch.wirelens, batch.timestamps, batch.link_types, 7
    )
    copy = owned(batch)
    data[:] = 0
    assert copy.data.nbytes == 25
    assert [copy.packet(i).tolist() for i in (0, 1)] == [[20, 21, 22, 23, 24], [40, 41, 42, 43, 44]]
    assert copy.first_packet == 7


def test_rate_falls_while_the_queue_is_crowded_and_recovers():
    sampling = SamplingRate()
    now = 0.0
    for _ in range(200):
        now += 0.25
        sampling.update(0.9, now)
    assert sampling.rate == LEAST
    crowded = now
    while sampling.rate < 1:
        now += 0.25
        sampling.update(0.0, now)
        assert now - crowded < 60
    sampling.update(0.3, now + 1)
    assert sampling.rate == 1


@pytest.mark.parametrize("fill", [0.1, 0.3, 0.5])
def test_rate_stays_between_the_marks(fill):
    sampling = SamplingRate(rate=0.25)
    sampling.update(fill, 10.0)
    assert sampling.rate == 0.25
