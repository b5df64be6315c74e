from pathlib import Path

import pytest

from mtc.config import RunConfig
from mtc.datasets import Dataset
from mtc.evaluation.baseline import LEADING_BYTES, _leading, score_trees

pytest.importorskip("lightgbm", reason="the baseline is an extra")


def test_trees_learn_what_a_byte_tells(small_dataset: Path) -> None:
    lines: list[str] = []
    metrics = score_trees(Dataset.open(small_dataset), RunConfig(), rounds=20, threads=1, report=lines.append)
    for parts in (metrics["parts"], metrics["flow_parts"]):
        assert parts.keys() == {"validation", "test"}
        assert parts["test"]["application"]["macro_f1"] > 0.95
        assert parts["test"]["application"]["classes"] == 3
    assert metrics["rounds"].keys() == {"application", "traffic", "auxiliary"}
    assert len(lines) == 3


def test_trees_see_the_leading_bytes(small_dataset: Path) -> None:
    samples = Dataset.open(small_dataset).part("flow", "test")
    leading = _leading(samples)
    assert leading.shape == (len(samples), LEADING_BYTES)
    assert (leading == samples.dense()[:, :LEADING_BYTES]).all()
