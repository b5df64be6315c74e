"""Datasets whose rows are flow sequences, and splits by a column of the labels file."""

import csv
from pathlib import Path

import numpy as np
import pytest

from mtc.datasets import Dataset, build_captures
from mtc.datasets.build.rules import FlowWindows, PacketFilter
from mtc.datasets.remake import remake_splits
from mtc.errors import UsageError
from mtc.flows import SampleStream
from mtc.flows.sequences import ROW_BYTES
from mtc.flows.stream import read_sequences


@pytest.fixture(scope="module")
def lab_rows(shared_data: Path) -> list[dict[str, str]]:
    with (shared_data / "lab" / "labels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))[::7]


@pytest.fixture(scope="module")
def dataset(
    shared_data: Path, lab_rows: list[dict[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> Dataset:
    folder = tmp_path_factory.mktemp("lab")
    labels = folder / "labels.csv"
    with labels.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(lab_rows[0]))
        writer.writeheader()
        for row in lab_rows:
            writer.writerow({**row, "capture": str(shared_data / "lab" / row["capture"])})
    build_captures(labels, folder / "out", kind="flows", tasks=["traffic"], workers=1)
    return Dataset.open(folder / "out")


def test_rows_are_the_sequences_of_the_captures(
    shared_data: Path, lab_rows: list[dict[str, str]], dataset: Dataset
) -> None:
    info = dataset.info
    assert info.kind == "flows"
    assert set(dataset.tasks) == {"traffic"}
    samples = dataset.part("flow", "all")
    dense = samples.dense()
    for i, capture in enumerate(info.captures):
        (row,) = [row for row in lab_rows if capture.capture.endswith(row["capture"])]
        expected, _, _ = read_sequences(shared_data / "lab" / row["capture"])
        mine = np.flatnonzero(samples.capture == i)
        assert sorted(map(bytes, dense[mine, :ROW_BYTES])) == sorted(map(bytes, expected))
        assert {dataset.tasks["traffic"][label] for label in samples.labels["traffic"][mine]} == {
            row["traffic"]
        }
    assert not dense[:, ROW_BYTES:].any()
    assert len(np.unique(samples.flow)) == len(samples)  # a tunnel in two captures is two flows


def test_splits_by_group_keep_programs_whole(dataset: Dataset) -> None:
    column = dataset.columns("group_program")["group_program"]
    programs = dataset.info.settings["groups"]["program"]
    assert len(programs) == len(set(column[column >= 0].tolist()))
    parts = {part: dataset.part("group:program", part) for part in ("train", "validation", "test")}
    seen = [set(column[samples.row].tolist()) for samples in parts.values()]
    assert all(seen)
    assert sum(map(len, seen)) == len(programs)
    tested = []
    folds = [name for name in dataset.splits if name.startswith("leave-one-out:program/")]
    assert len(folds) == len(programs)
    for name in folds:
        test, train = (set(column[dataset.part(name, part).row].tolist()) for part in ("test", "train"))
        assert len(test) == 1
        assert not test & train
        tested += list(test)
    assert sorted(tested) == list(range(len(programs)))
    first = dataset.part("leave-one-out:program", "test").row
    assert (first == dataset.part("leave-one-out:program/1", "test").row).all()
    assert "group:seconds" not in dataset.splits  # a column of numbers groups nothing


def test_the_splits_can_be_made_again(dataset: Dataset) -> None:
    remade = remake_splits(dataset)
    for name in ("flow", "group:program", "leave-one-out:tunnel/2"):
        for number, part in enumerate(("train", "validation", "test")):
            rows = dataset.part(name, part).row
            assert rows.tolist() == np.flatnonzero(remade[name] == number).tolist()


def test_only_columns_that_are_there_can_be_tasks(shared_data: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no column nothing; there are traffic"):
        build_captures(shared_data / "lab" / "labels.csv", tmp_path / "out", tasks=["nothing"])


def test_many_flows_are_matched_as_one_by_one(shared_data: Path) -> None:
    captures = sorted((shared_data / "lab" / "captures").glob("plain_qbittorrent*"))
    with SampleStream(captures[0], build=False) as stream:
        pieces = [(stream.batch_headers, stream.batch) for _ in stream]
        records = stream.flows.records()
    filters = []
    for row in range(0, len(records), 2):
        found = records.row(row)
        cells = {name: str(found[name]) for name in ("protocol", "src", "src_port", "dst", "dst_port")}
        filters.append(PacketFilter.parse({**cells, "start": str(found["start"] + 0.01)}))
        filters.append(PacketFilter.parse({**cells, "end": str(found["start"])}))
    assert all(one.names_a_flow for one in filters)
    windows = FlowWindows.of(filters)
    matched = 0
    for headers, batch in pieces:
        assert headers is not None
        assert batch is not None
        expected = np.any([one.matches(headers, batch.timestamps) for one in filters], axis=0)
        np.testing.assert_array_equal(windows.match(headers, batch.timestamps), expected)
        matched += int(expected.sum())
    assert 0 < matched < sum(len(batch) for _, batch in pieces if batch is not None)
