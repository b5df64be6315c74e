"""Ragged samples: nothing is lost but trailing zeros."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mtc.datasets import LabelledSamples
from mtc.datasets.ragged import WIDTH, dense, gather, trim


def dense_samples(payloads: list[bytes]) -> np.ndarray:
    samples = np.zeros((len(payloads), WIDTH), np.uint8)
    for i, payload in enumerate(payloads):
        samples[i, : len(payload)] = np.frombuffer(payload, np.uint8)
    return samples


@given(st.lists(st.binary(max_size=60), max_size=12), st.data())
@settings(deadline=None)  # the first call compiles
def test_trim_gather_and_dense_are_inverse(payloads: list[bytes], data: st.DataObject) -> None:
    samples = dense_samples(payloads)
    flat, offsets, digests = trim(samples)
    assert [flat[a:b].tobytes() for a, b in itertools.pairwise(offsets)] == [
        payload.rstrip(b"\0") for payload in payloads
    ]
    same = {d: p.rstrip(b"\0") for d, p in zip(digests.tolist(), payloads, strict=True)}
    assert len(same) == len({payload.rstrip(b"\0") for payload in payloads})
    rows = np.array(data.draw(st.lists(st.integers(0, max(len(payloads) - 1, 0)))), np.int64)
    rows = rows if payloads else rows[:0]
    assert np.array_equal(dense(flat, offsets, rows), samples[rows])
    assert np.array_equal(dense(*gather(flat, offsets, rows), np.arange(len(rows))), samples[rows])


def test_a_full_sample_fits() -> None:
    samples = np.full((2, WIDTH), 255, np.uint8)
    flat, offsets, _ = trim(samples)
    assert offsets.tolist() == [0, WIDTH, 2 * WIDTH]
    assert np.array_equal(dense(flat, offsets, np.array([1, 0])), samples)


def test_labelled_samples_take() -> None:
    samples = dense_samples([b"a", b"", b"ccc"])
    data, offsets, _ = trim(samples)
    labelled = LabelledSamples(
        data=data,
        offsets=offsets,
        labels={"kind": np.array([0, -1, 2])},
        flow=np.array([4, 5, 6], np.int32),
        capture=np.zeros(3, np.int32),
        time=np.array([1, 2, 3]),
        row=np.arange(3),
    )
    taken = labelled.take(np.array([2, 0, 2]))
    assert len(taken) == 3
    assert np.array_equal(taken.dense(), samples[[2, 0, 2]])
    assert np.array_equal(taken.dense(np.array([1])), samples[[0]])
    assert taken.labels["kind"].tolist() == [2, 0, 2]
    assert taken.flow.tolist() == [6, 4, 6]
    assert taken.time.tolist() == [3, 1, 3]
    with pytest.raises(IndexError):
        labelled.take(np.array([3]))
    with pytest.raises(IndexError):
        labelled.dense(np.array([-1]))
