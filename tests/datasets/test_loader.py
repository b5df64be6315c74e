"""Opening datasets: what is wrong is told in a line."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mtc.datasets import PARTS, Dataset, LabelledSamples, build_iscx, remake_splits
from mtc.datasets.layout import ROW_GROUP_ROWS
from mtc.datasets.samples import SampleSpool
from mtc.errors import DatasetError, UsageError


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, write_capture: Callable[..., Path]) -> Path:
    folder = tmp_path_factory.mktemp("loader")
    for name, n in (("email1a", 15_000), ("vpn_skype_audio1", 5_000)):
        packets = [(40_000 + i % 97, 443, i.to_bytes(3, "big") + b"\1") for i in range(n)]
        write_capture(folder / f"in/{name}.pcap", packets)
    (folder / "in/manifest.csv").write_text("capture,application,service,vpn\nvpn_skype_audio1,,voip,1\n")
    build_iscx(folder / "in", folder / "out")
    return folder / "out"


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def test_parts_over_several_row_groups(whole: Path) -> None:
    metadata = pq.read_metadata(whole / "packets.parquet")
    groups = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
    assert groups == [ROW_GROUP_ROWS, 20_000 - ROW_GROUP_ROWS]
    dataset = Dataset.open(whole)
    everything = dataset.part("flow", "all")
    assert everything.labels["application"].tolist() == [1] * 15_000 + [-1] * 5_000
    numbers = everything.dense()[:, 40:43].astype(int) @ [65_536, 256, 1]
    assert numbers.tolist() == [*range(15_000), *range(5_000)]
    test = dataset.part("flow", "test")
    assert np.array_equal(test.dense(), everything.take(test.row).dense())
    assert np.array_equal(test.labels["traffic"], everything.labels["traffic"][test.row])
    assert test.labels["application"].dtype == np.int64
    assert test.flow.dtype == test.capture.dtype == np.int32


def test_columns_are_compact(whole: Path) -> None:
    schema = pq.read_schema(whole / "packets.parquet")
    assert schema.names == [
        *("sample", "time", "flow", "capture", "packet", "application", "traffic", "auxiliary"),
        *(f"split_{name}" for name in ("flow", "packet", "capture", "time")),
        *(f"fold_{name}" for name in ("flow", "packet", "capture", "time")),
    ]
    assert str(schema.field("application").type).startswith("dictionary")
    metadata = pq.read_metadata(whole / "packets.parquet")
    assert {metadata.row_group(0).column(i).compression for i in range(metadata.num_columns)} == {"ZSTD"}


def test_wrong_split_part_or_column(whole: Path) -> None:
    dataset = Dataset.open(str(whole))
    assert dataset.splits[0] == "flow"
    with pytest.raises(UsageError, match="no split 'flow/6'"):
        dataset.part("flow/6", "train")
    with pytest.raises(UsageError, match="no part 'dev'"):
        dataset.part("flow", "dev")
    with pytest.raises(UsageError, match="no column"):
        dataset.column("label")


def test_folds_are_splits(whole: Path) -> None:
    dataset = Dataset.open(whole)
    tested = [dataset.part(f"flow/{fold}", "test").row for fold in range(1, 6)]
    assert np.array_equal(np.sort(np.concatenate(tested)), np.arange(len(dataset)))
    for fold in range(1, 6):
        parts = {part: dataset.part(f"flow/{fold}", part) for part in PARTS}
        assert np.array_equal(parts["validation"].row, tested[fold % 5])
        assert {part: len(samples) for part, samples in parts.items()} == (
            dataset.info.splits[f"flow/{fold}"].rows
        )


def test_splits_are_made_again_from_dataset_json(whole: Path) -> None:
    dataset = Dataset.open(whole)
    remade = remake_splits(dataset)
    assert list(remade) == list(dataset.splits)
    assert len(remade) == 4 + 4 * 5
    for name, parts in remade.items():
        for i, part in enumerate(PARTS):
            assert np.array_equal(np.flatnonzero(parts == i), dataset.part(name, part).row), (name, part)


def test_splits_of_another_algorithm_are_not_made_again(copy: Path) -> None:
    text = (copy / "dataset.json").read_text()
    (copy / "dataset.json").write_text(text.replace('"time v1', '"time v0'))
    with pytest.raises(DatasetError, match="'time v0"):
        remake_splits(Dataset.open(copy))


def test_the_hash_is_of_rows_not_of_files(whole: Path, tmp_path: Path) -> None:
    dataset = Dataset.open(whole)
    without = build_iscx(whole.parent / "in", tmp_path / "out", folds=0)
    assert without.hash == dataset.hash
    assert without.files != dataset.info.files
    assert build_iscx(whole.parent / "in", tmp_path / "two", seed=2).hash != dataset.hash
    assert build_iscx(whole.parent / "in", tmp_path / "three", cap=6_000).hash != dataset.hash


def test_missing_folders_and_files(copy: Path) -> None:
    with pytest.raises(DatasetError, match="no such dataset"):
        Dataset.open(copy / "nowhere")
    (copy / "packets.parquet").unlink()
    with pytest.raises(DatasetError, match=r"packets\.parquet is missing"):
        Dataset.open(copy)
    (copy / "dataset.json").unlink()
    with pytest.raises(DatasetError, match="not a dataset"):
        Dataset.open(copy)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"kind": "pictures"}, "unknown kind"),
        ({"rows": "many"}, "damaged"),
        ({"captures": None}, "damaged"),
        ({"splits": {"flow": {}}}, "damaged"),
        ({"tasks": ["a"]}, "damaged"),
    ],
)
def test_wrong_dataset_json(copy: Path, change: dict[str, object], message: str) -> None:
    values = json.loads((copy / "dataset.json").read_text()) | change
    (copy / "dataset.json").write_text(json.dumps(values))
    with pytest.raises(DatasetError, match=message):
        Dataset.open(copy)


@pytest.mark.parametrize("text", ["", "{", "[1]", "null"])
def test_damaged_dataset_json(copy: Path, text: str) -> None:
    (copy / "dataset.json").write_text(text)
    with pytest.raises(DatasetError):
        Dataset.open(copy)


def test_cut_off_parquet(copy: Path) -> None:
    file = copy / "packets.parquet"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(copy)


@pytest.mark.parametrize("place", [0.1, 0.5, 0.9])
def test_flipped_bytes_in_parquet(copy: Path, place: float) -> None:
    file = copy / "packets.parquet"
    data = bytearray(file.read_bytes())
    at = int(len(data) * place)
    data[at : at + 64] = bytes(byte ^ 0xFF for byte in data[at : at + 64])
    file.write_bytes(data)
    dataset = Dataset.open(copy)
    with pytest.raises(DatasetError, match="damaged"):
        dataset.part("flow", "all")


def test_a_parquet_of_other_columns(copy: Path) -> None:
    values = json.loads((copy / "dataset.json").read_text())
    values["tasks"] = {"application": values["tasks"]["application"]}
    (copy / "dataset.json").write_text(json.dumps(values))
    with pytest.raises(DatasetError, match="other columns"):
        Dataset.open(copy).part("flow", "all")


def test_parts_take_no_memory_and_leave_no_files(whole: Path, tmp_path: Path) -> None:
    def anonymous() -> int:
        """Bytes of memory of this process that no file backs."""
        status = Path("/proc/self/status").read_text()
        return 1024 * int(next(line for line in status.splitlines() if "RssAnon" in line).split()[1])

    rows = 400_000
    with SampleSpool(tmp_path, ["task"], np.uint8) as spool:
        piece = LabelledSamples(
            data=np.arange(4_000 * 200, dtype=np.uint8),
            offsets=np.arange(4_001) * 200,
            labels={"task": np.arange(4_000)},
            flow=np.zeros(4_000, np.int32),
            capture=np.zeros(4_000, np.int32),
            time=np.zeros(4_000, np.int64),
            row=np.arange(4_000),
        )
        before = anonymous()
        for _ in range(rows // 4_000):
            spool.append(piece)
        samples = spool.samples()
    assert len(samples) == rows
    order = np.random.default_rng(0).permutation(rows)
    for start in range(0, 20_000, 128):
        taken = samples.take(order[start : start + 128])
        assert np.array_equal(taken.labels["task"], order[start : start + 128] % 4_000)
        assert taken.data[:200].tolist() == piece.take(taken.labels["task"][:1]).data.tolist()
    assert samples.data.nbytes == 80_000_000
    assert anonymous() - before < 30_000_000
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written_is_read(copy: Path) -> None:
    copy.chmod(0o500)
    assert len(Dataset.open(copy).part("flow", "all")) == 20_000
