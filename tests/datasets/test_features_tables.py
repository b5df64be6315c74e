"""Tables of flow features: whatever the file is like, every line is a row, or its end is told."""

import gzip
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from mtc.datasets import FEATURES
from mtc.datasets.flow_features import csv as features_csv
from mtc.datasets.flow_features.opening import open_table
from mtc.datasets.flow_features.sources import TableSource, find_tables, hold_tables, is_table
from mtc.datasets.flow_features.tables import FeatureRows
from mtc.errors import DatasetError

WriteTable = Callable[..., Path]
BENIGN_3 = [b"BENIGN"] * 3


def read(source: Path | TableSource) -> tuple[FeatureRows, str | None]:
    """All rows of a table as one block."""
    with open_table(source) as table:
        blocks = list(table)
        assert [block.first for block in blocks] == [1, *(np.cumsum([len(b) for b in blocks])[:-1] + 1)]
        assert table.rows == sum(map(len, blocks))
        labels = [block.names[i] if i >= 0 else b"" for block in blocks for i in block.labels]
        names = tuple(dict.fromkeys(labels))
        return FeatureRows(
            values=np.concatenate([block.values for block in blocks]),
            labels=np.array([names.index(label) for label in labels], np.int32),
            names=names,
            readable=np.concatenate([block.readable for block in blocks]),
            words=np.concatenate([block.words for block in blocks]),
            first=1,
        ), table.damage


def test_values_are_those_of_pandas(tmp_path: Path, write_table: WriteTable) -> None:
    cells = {(0, 14): b"NaN", (0, 15): b"Infinity", (1, 15): b"-Infinity", (2, 20): b"", (3, 1): b"1e5"}
    path = write_table(tmp_path / "a.csv", [b"BENIGN"] * 5, cells=cells)
    rows, damage = read(path)
    frame = pd.read_csv(path)
    assert np.array_equal(rows.values, frame.iloc[:, :78].to_numpy(np.float64), equal_nan=True)
    assert damage is None
    assert rows.readable.all()
    assert rows.values[0, 15] == np.inf
    assert np.isnan(rows.values[2, 20])


@pytest.mark.parametrize("block", [200, 1000, 4 << 20])
def test_blocks_do_not_matter(
    tmp_path: Path, write_table: WriteTable, monkeypatch: pytest.MonkeyPatch, block: int
) -> None:
    labels = [b"BENIGN", b"", b"Web Attack \x96 XSS", b"DDoS"] * 5
    lines = {4: b"1,2,3", 9: b"," * 79, 10: b"", 11: b",".join([b"7"] * 79)}
    path = write_table(tmp_path / "a.csv", labels, cells={(2, 5): b"words", (6, 6): b"0x1F"}, lines=lines)
    monkeypatch.setattr(features_csv, "BLOCK_BYTES", block)
    rows, damage = read(path)
    assert damage is None
    assert len(rows) == 19  # the blank line is none
    assert np.flatnonzero(~rows.readable).tolist() == [4, 9]
    assert [rows.names[i] for i in rows.labels[:4]] == [b"BENIGN", b"", b"Web Attack \x96 XSS", b"DDoS"]
    assert rows.names[rows.labels[10]] == b"7"
    assert np.isnan(rows.values[[2, 6], [5, 6]]).all()
    assert np.isnan(rows.values[[4, 9]]).all()
    assert np.isfinite(rows.values[[0, 1, 3, 5, 7, 8, 10]]).all()


def test_dirty_headers(tmp_path: Path, write_table: WriteTable, original_header: str) -> None:
    plain, _ = read(write_table(tmp_path / "plain.csv", BENIGN_3))
    names = [name.strip() for name in original_header.split(",")]
    for header in (
        "\ufeff" + original_header,
        "\r\n\r\n" + original_header,
        ",".join(f'"{name}"' for name in names),
        ",".join(f"  {name.upper()}  " for name in names),
    ):
        rows, _ = read(write_table(tmp_path / "dirty.csv", BENIGN_3, header=header))
        assert np.array_equal(rows.values, plain.values)
        assert rows.names == (b"BENIGN",)


def test_other_columns_and_order(tmp_path: Path, write_table: WriteTable, original_header: str) -> None:
    frame = pd.read_csv(write_table(tmp_path / "a.csv", BENIGN_3))
    frame.insert(0, "Flow ID", "1.2.3.4-5.6.7.8")
    frame[["Protocol"]] = 6
    frame.sample(frac=1, axis=1, random_state=3).to_csv(tmp_path / "b.csv", index=False)
    one, other = read(tmp_path / "a.csv")[0], read(tmp_path / "b.csv")[0]
    assert np.array_equal(one.values, other.values)
    with open_table(tmp_path / "b.csv") as table:
        assert sorted(table.columns.unused) == ["Flow ID", "Protocol"]


def test_formats_and_containers(tmp_path: Path, write_table: WriteTable) -> None:
    path = write_table(tmp_path / "in" / "a.csv", [b"BENIGN", b"DDoS"] * 3, cells={(1, 3): b"NaN"})
    expected, _ = read(path)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(path.read_bytes()))
    frame = pd.read_csv(path, encoding="latin-1")
    frame.to_parquet(tmp_path / "a.parquet")
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "MachineLearningCVE/a.csv")
        archive.writestr("__MACOSX/MachineLearningCVE/._a.csv", b"\0\1")
        archive.writestr("readme.txt", "text")
    skipped: list[str] = []
    sources = list(find_tables([tmp_path / name for name in ("a.csv.gz", "a.parquet", "a.zip")], skipped))
    assert [source.title for source in sources] == ["a", "a", "a"]
    assert len(skipped) == 2
    for source in sources:
        rows, damage = read(source)
        assert damage is None
        assert np.array_equal(rows.values, expected.values, equal_nan=True)
        assert [rows.names[i] for i in rows.labels] == [expected.names[i] for i in expected.labels]
        assert source.size() > 0


def test_damage_is_told_and_what_stands_before_is_read(tmp_path: Path, write_table: WriteTable) -> None:
    path = write_table(tmp_path / "a.csv", [b"BENIGN"] * 2000)
    packed = gzip.compress(path.read_bytes())
    (tmp_path / "cut.csv.gz").write_bytes(packed[: len(packed) // 2])
    rows, damage = read(tmp_path / "cut.csv.gz")
    whole, _ = read(path)
    assert 0 < len(rows) < 2000
    assert rows.readable.all()
    assert np.array_equal(rows.values, whole.values[: len(rows)])
    assert damage is not None
    assert "byte" in damage

    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(path, "a.csv")
    data = bytearray((tmp_path / "a.zip").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "a.zip").write_bytes(data)
    (source,) = find_tables([tmp_path / "a.zip"])
    with open_table(source) as table:
        assert sum(map(len, table)) <= 2000
        assert table.damage is not None

    text = path.read_bytes()
    (tmp_path / "cut.csv").write_bytes(text[: len(text) - 100])
    rows, damage = read(tmp_path / "cut.csv")
    assert damage is None  # a text file has no end that could be missed
    assert len(rows) == 2000
    assert np.flatnonzero(~rows.readable).tolist() == [1999]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n\n  \n", "empty"),
        (b"a,b,c\n1,2,3\n", "no column is known"),
        (b"Destination Port, Label\n80,BENIGN\n", "features have no column"),
        (bytes(range(256)) * 40, "not a table"),
        (b"\xd4\xc3\xb2\xa1" + bytes(20), "not a table"),
        (b"PAR1" + bytes(60), "damaged"),
        (b"x" * (3 << 20), "not a table"),
    ],
)
def test_what_is_no_table(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=reason) as error:
        open_table(path)
    assert str(error.value).startswith(str(path))


def test_endless_line(tmp_path: Path, write_table: WriteTable) -> None:
    path = write_table(tmp_path / "a.csv", BENIGN_3)
    path.write_bytes(path.read_bytes() + b"1," * (3 << 20))
    with open_table(path) as table:
        list(table)
        assert table.damage is not None
        assert "longer" in table.damage


def test_missing_files_and_empty_folders(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such file"):
        open_table(tmp_path / "nowhere.csv")
    (tmp_path / "empty").mkdir()
    (source,) = find_tables([tmp_path / "empty"])
    with pytest.raises(DatasetError, match="no table in this folder"):
        open_table(source)


def test_needed_features_only(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("idle min,label\n5,BENIGN\n")
    with open_table(path, needed=("Idle Min",)) as table:
        (rows,) = table
    assert rows.values[0, FEATURES.index("Idle Min")] == 5
    assert np.isnan(rows.values[0]).sum() == 77


def test_names_of_tables(tmp_path: Path, write_table: WriteTable) -> None:
    assert is_table("Monday.pcap_ISCX.CSV")
    assert is_table("a.parquet")
    assert is_table("a.csv.gz")
    assert not is_table("a.pcap")
    name = "x.zip/MachineLearningCVE/Monday-WorkingHours.pcap_ISCX.csv"
    assert TableSource(name, Path("x.zip"), 0).title == "Monday-WorkingHours"
    folder = write_table(tmp_path / "in" / "a.csv", BENIGN_3).parent
    assert hold_tables([folder])
    assert hold_tables(["a.csv", folder])
    assert not hold_tables([])
    assert not hold_tables(["a.csv", "a.pcap"])
    (folder / "b.pcap").write_bytes(b"\xd4\xc3\xb2\xa1\2\0\4\0" + bytes(8) + b"\xff\xff\0\0\1\0\0\0")
    assert not hold_tables([folder])  # a capture with a table beside it
