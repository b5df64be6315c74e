"""CICIDS2017 from tables that are made up: labels, reasons, splits, sources."""

import json
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from mtc.datasets import FEATURES, PARTS, SELECTED, Dataset, build_cicids2017, remake_splits
from mtc.datasets.cicids2017.labels import DOWNLOAD, LABELS, classes_of, read_label, readable_label
from mtc.errors import DatasetError, OutputError, UsageError

WriteTable = Callable[..., Path]

MIXED = [b"BENIGN"] * 60 + [b"DoS Hulk"] * 20 + [b"Bot"] * 3 + [b"Infiltration"] * 2


def folder_bytes(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("raw", "label", "attack"),
    [
        (b"BENIGN", "BENIGN", "Benign"),
        (b" Benign ", "BENIGN", "Benign"),
        (b"DoS slowloris", "DoS slowloris", "DoS/DDoS"),
        (b"DoS Slowhttptest", "DoS Slowhttptest", "DoS/DDoS"),
        (b"Heartbleed", "Heartbleed", "DoS/DDoS"),
        (b"DDoS", "DDoS", "DoS/DDoS"),
        (b"PortScan", "PortScan", "PortScan"),
        (b"FTP-Patator", "FTP-Patator", "Brute force"),
        (b"SSH-Patator", "SSH-Patator", "Brute force"),
        (b"Bot", "Bot", "Botnet ARES"),
        (b"Infiltration", "Infiltration", "Infiltration"),
        (b"Web Attack \x96 Brute Force", "Web Attack - Brute Force", "Web attack"),
        (b"Web Attack \xe2\x80\x93 XSS", "Web Attack - XSS", "Web attack"),
        (b"Web Attack \xef\xbf\xbd Sql Injection", "Web Attack - Sql Injection", "Web attack"),
        (b"Web Attack \xc3\xaf\xc2\xbf\xc2\xbd XSS", "Web Attack - XSS", "Web attack"),
        (b"Web Attack \xc3\xa2\xe2\x82\xac\xe2\x80\x9c XSS", "Web Attack - XSS", "Web attack"),
        (b"Web Attack \xc2\x96 XSS", "Web Attack - XSS", "Web attack"),
        (b"Web Attack - XSS", "Web Attack - XSS", "Web attack"),
    ],
)
def test_spellings_of_labels(raw: bytes, label: str, attack: str) -> None:
    assert read_label(raw) == label
    malicious = "Benign" if attack == "Benign" else "Malicious"
    assert classes_of(label) == {"attack": attack, "malicious": malicious}


def test_labels_that_are_not_known() -> None:
    assert read_label(b"") is None
    assert read_label(b"DoS Hulk - Attempted") is None
    assert readable_label(b"caf\xe9") == "café"
    assert len(LABELS) == 15
    assert sum(DOWNLOAD.values()) == 2_830_743


def test_every_row_is_counted(tmp_path: Path, write_table: WriteTable) -> None:
    labels = [*MIXED, b"", b"Mirai", b"Mirai", b"BENIGN", b"BENIGN", b"BENIGN", b"BENIGN"]
    cells = {(88, 0): b"x", (89, 3): b"Infinity", (90, 3): b"-Infinity", (90, 4): b"NaN"}
    path = write_table(tmp_path / "Tuesday-WorkingHours.pcap_ISCX.csv", labels, cells=cells, lines={91: b"1"})
    info = build_cicids2017(path, tmp_path / "out")
    assert info.packets == 92
    assert info.left_out == {
        "infiltration": 2,
        "infinite": 1,
        "malformed": 1,
        "no_label": 1,
        "not_a_number": 2,
        "unknown_label": 2,
    }
    assert info.packets == sum(c.kept for c in info.captures) + sum(info.left_out.values())
    assert info.features is not None
    assert info.features.unknown_labels == {"Mirai": 2}
    assert info.features.labels["Bot"] == 3
    assert info.captures[0].capture == "Tuesday-WorkingHours"
    assert "Monday-WorkingHours" in info.report.missing
    assert "Tuesday-WorkingHours" not in info.report.missing
    assert info.counts["attack"]["Benign"].packets == 63
    assert info.counts["attack"]["Benign"].samples == 60
    assert info.counts["attack"][""].packets == 2 + 2 + 1 + 1
    assert info.absent["attack"] == ("PortScan", "Brute force", "Web attack")
    assert not info.features.complete


def test_columns(tmp_path: Path, write_table: WriteTable) -> None:
    path = write_table(tmp_path / "a.csv", MIXED)
    build_cicids2017(path, tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    synthetic = dataset.column("synthetic").to_numpy()
    read = ~synthetic
    # Benign rows: 60, so the targets are DoS/DDoS 10.3, Botnet ARES 1.9: nothing has to be made.
    assert not synthetic.any()
    assert dataset.column("row").to_pylist() == list(range(1, 84))
    assert dataset.column("capture").to_pylist() == ["a"] * 83
    assert dataset.column("label").to_pylist() == [label.decode() for label in MIXED[:83]]
    frame = pd.read_csv(path)
    for i, name in enumerate(FEATURES):
        assert np.array_equal(dataset.column(name).to_numpy()[read], frame.iloc[:83, i].to_numpy(float))


def test_infiltration_as_a_seventh_class(tmp_path: Path, write_table: WriteTable) -> None:
    info = build_cicids2017(write_table(tmp_path / "a.csv", MIXED), tmp_path / "out", infiltration=True)
    assert info.tasks["attack"][-1] == "Infiltration"
    assert len(info.tasks["attack"]) == 7
    assert info.counts["attack"]["Infiltration"].kept == 2
    assert info.counts["malicious"]["Malicious"].kept == 25
    assert info.left_out == {}


def repeated_rows(write_table: WriteTable, path: Path) -> Path:
    """600 rows of which 200 are the same; 20 of them stand under another label too."""
    labels = [b"BENIGN"] * 500 + [b"DDoS"] * 100
    same = b",".join([b"5"] * 78)
    lines = dict.fromkeys(range(0, 540, 3), same + b",BENIGN")
    lines |= dict.fromkeys(range(560, 580), same + b",DDoS")
    return write_table(path, labels, lines=lines)


def test_equal_rows_are_reported_and_never_straddle(tmp_path: Path, write_table: WriteTable) -> None:
    info = build_cicids2017(repeated_rows(write_table, tmp_path / "a.csv"), tmp_path / "out", seed=3)
    assert info.features is not None
    repeats = info.features.repeats
    assert (repeats.repeated_rows, repeats.repeated_inputs) == (179 + 19, 199)
    assert repeats.inputs_under_different_labels == 1
    leaks = {name: split.leakage for name, split in info.splits.items()}
    assert leaks["honest"].shared_samples == leaks["honest"].test_rows_equal_to_trained == 0
    # The fixture would leak, were the rows not grouped.
    assert leaks["paper"].shared_samples > 0
    dataset = Dataset.open(tmp_path / "out")
    inputs = [
        {row.tobytes() for row in dataset.part("honest", part).dense()}
        for part in ("train", "validation", "test")
    ]
    assert not inputs[0] & inputs[1]
    assert not inputs[0] & inputs[2]
    assert not inputs[1] & inputs[2]


def test_repeated_rows_may_be_dropped(tmp_path: Path, write_table: WriteTable) -> None:
    path = repeated_rows(write_table, tmp_path / "a.csv")
    info = build_cicids2017(path, tmp_path / "out", duplicates="drop")
    assert info.left_out == {"repeated": 200}
    assert info.features is not None
    benign = info.features.classes["Benign"]
    assert (benign.finite, benign.distinct, benign.single, benign.kept) == (513, 334, 333, 333)
    assert info.features.repeats.repeated_inputs == 0
    assert info.splits["paper"].leakage.test_rows_equal_to_trained == 0


def test_rows_are_split_in_the_papers_shares(tmp_path: Path, write_table: WriteTable) -> None:
    labels = [b"BENIGN"] * 1000 + [b"PortScan"] * 300 + [b"FTP-Patator"] * 100
    info = build_cicids2017(write_table(tmp_path / "a.csv", labels), tmp_path / "out")
    for split in info.splits.values():
        total = sum(split.rows.values())
        assert split.rows["train"] == pytest.approx(split.fractions["train"] * total, abs=3)
        assert split.rows["test"] == pytest.approx(0.20 * total, abs=3)  # as is a fold of five
        for parts in (split.counts["attack"][name] for name in ("PortScan", "Brute force")):
            assert parts["test"] == pytest.approx(0.20 * sum(parts.values()), abs=2)


def test_folds_of_both_splits(tmp_path: Path, write_table: WriteTable) -> None:
    table = repeated_rows(write_table, tmp_path / "a.csv")
    info = build_cicids2017(table, tmp_path / "out", folds=4)
    dataset = Dataset.open(tmp_path / "out")
    assert dataset.splits == (
        "honest",
        "paper",
        *(f"{s}/{i}" for s in ("honest", "paper") for i in (1, 2, 3, 4)),
    )
    assert info.features is not None
    assert info.features.balanced_splits == ("paper", *(f"paper/{i}" for i in (1, 2, 3, 4)))
    for split in ("honest", "paper"):
        everything = dataset.part(split, "all").row
        tested = [dataset.part(f"{split}/{i}", "test").row for i in (1, 2, 3, 4)]
        assert np.array_equal(np.sort(np.concatenate(tested)), everything)
        for i in (1, 2, 3, 4):
            parts = {part: dataset.part(f"{split}/{i}", part) for part in PARTS}
            assert {part: len(samples) for part, samples in parts.items()} == info.splits[f"{split}/{i}"].rows
            assert np.array_equal(parts["validation"].row, tested[i % 4])
            assert np.array_equal(dataset.part(f"{split}/{i}", "all").row, everything)
            trained = {row.tobytes() for row in parts["train"].dense()}
            leaked = sum(row.tobytes() in trained for row in parts["test"].dense())
            assert info.splits[f"{split}/{i}"].leakage.test_rows_equal_to_trained == leaked
            assert (leaked > 0) == (split == "paper")
    without = build_cicids2017(table, tmp_path / "none", folds=0)
    assert without.hash == info.hash
    assert list(without.splits) == ["honest", "paper"]
    with pytest.raises(UsageError, match="folds"):
        build_cicids2017(table, tmp_path / "two", folds=2)


def test_splits_are_made_again_from_dataset_json(tmp_path: Path, write_table: WriteTable) -> None:
    # 600 benign rows make DoS/DDoS grow by 3 to 103, and stay 392.
    build_cicids2017(repeated_rows(write_table, tmp_path / "a.csv"), tmp_path / "out", seed=4)
    dataset = Dataset.open(tmp_path / "out")
    remade = remake_splits(dataset)
    assert list(remade) == list(dataset.splits)
    for name, parts in remade.items():
        for i, part in enumerate(PARTS):
            assert np.array_equal(np.flatnonzero(parts == i), dataset.part(name, part).row), (name, part)
    text = (tmp_path / "out/dataset.json").read_text()
    (tmp_path / "out/dataset.json").write_text(text.replace("SMOTE/1", "SMOTE/0"))
    with pytest.raises(DatasetError, match="SMOTE/0"):
        remake_splits(Dataset.open(tmp_path / "out"))


def test_the_hash_is_of_rows_not_of_files(tmp_path: Path, write_table: WriteTable) -> None:
    table = write_table(tmp_path / "a.csv", MIXED)
    first = build_cicids2017(table, tmp_path / "one")
    parquet = tmp_path / "a.parquet"
    frame = pd.read_csv(table)
    frame.to_parquet(parquet)
    assert build_cicids2017(parquet, tmp_path / "two").hash == first.hash
    changed = frame.copy()
    changed.iloc[5, 30] += 1  # a feature that no model reads
    changed.to_parquet(parquet)
    assert build_cicids2017(parquet, tmp_path / "three").hash != first.hash
    write_table(tmp_path / "b.csv", MIXED)
    assert build_cicids2017(tmp_path / "b.csv", tmp_path / "four").hash != first.hash
    assert build_cicids2017(table, tmp_path / "five", seed=2).hash != first.hash


@pytest.mark.slow
def test_same_bytes_however_the_tables_come(tmp_path: Path, write_table: WriteTable) -> None:
    names = ("Monday-WorkingHours", "Friday-WorkingHours-Morning")
    for i, name in enumerate(names):
        write_table(tmp_path / "csv" / f"{name}.pcap_ISCX.csv", MIXED, seed=i)
    with zipfile.ZipFile(tmp_path / "MachineLearningCSV.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.write(
                tmp_path / "csv" / f"{name}.pcap_ISCX.csv", f"MachineLearningCVE/{name}.pcap_ISCX.csv"
            )
    sources = {
        "folder": [tmp_path / "csv"],
        "zip": [tmp_path / "MachineLearningCSV.zip"],
        "files": sorted((tmp_path / "csv").iterdir()),
        "again": [tmp_path / "csv"],
        "twice": [tmp_path / "csv", tmp_path / "MachineLearningCSV.zip"],
    }
    told: list[tuple[str, int, int]] = []
    build_cicids2017(
        sources["folder"], tmp_path / "out-processes", workers=2, progress=lambda *step: told.append(step)
    )
    infos = {name: build_cicids2017(given, tmp_path / f"out-{name}") for name, given in sources.items()}
    assert len({info.files for info in infos.values()}) == 1
    assert len({info.hash for info in infos.values()}) == 1
    assert folder_bytes(tmp_path / "out-folder") == folder_bytes(tmp_path / "out-again")
    assert folder_bytes(tmp_path / "out-folder") == folder_bytes(tmp_path / "out-processes")
    total = sum(path.stat().st_size for path in (tmp_path / "csv").iterdir())
    assert sum(read for _, read, _ in told) == total == told[0][2]
    assert infos["zip"].sources[0].file == "MachineLearningCSV.zip"
    assert infos["zip"].captures[0].file == (
        "MachineLearningCSV.zip/MachineLearningCVE/Friday-WorkingHours-Morning.pcap_ISCX.csv"
    )
    assert len(infos["twice"].report.repeated) == 2
    assert str(tmp_path) not in (tmp_path / "out-zip/dataset.json").read_text()
    other = build_cicids2017(tmp_path / "csv", tmp_path / "other", seed=2)
    assert other.hash != infos["folder"].hash


def test_damaged_and_unreadable_tables_are_told(tmp_path: Path, write_table: WriteTable) -> None:
    write_table(tmp_path / "in" / "a.csv", MIXED)
    (tmp_path / "in" / "b.csv").write_bytes(b"")
    (tmp_path / "in" / "c.csv").write_text("Destination Port,Label\n80,BENIGN\n")
    unlabelled = write_table(tmp_path / "in" / "d.csv", MIXED).read_bytes()
    (tmp_path / "in" / "d.csv").write_bytes(unlabelled.replace(b" Label", b" Colour"))
    (tmp_path / "in" / "notes.txt").write_text("text")
    with zipfile.ZipFile(tmp_path / "in" / "e.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("e.csv", (tmp_path / "in" / "a.csv").read_bytes() * 50)
    data = bytearray((tmp_path / "in" / "e.zip").read_bytes())
    data[len(data) // 2] ^= 0xFF
    (tmp_path / "in" / "e.zip").write_bytes(data)
    (tmp_path / "in" / "f.zip").write_bytes(data[:200])
    info = build_cicids2017(tmp_path / "in", tmp_path / "out")
    assert set(info.damaged) >= {"in/b.csv", "in/c.csv", "in/d.csv", "in/e.zip/e.csv"}
    assert info.damaged["in/b.csv"] == "empty"
    assert info.damaged["in/d.csv"] == "no column of labels"
    assert info.report.unknown["in/notes.txt"] == "not a table"
    assert Dataset.open(tmp_path / "out").info == info


def test_places_and_sources_that_cannot_be_used(tmp_path: Path, write_table: WriteTable) -> None:
    path = write_table(tmp_path / "a.csv", MIXED)
    with pytest.raises(DatasetError, match="no such file"):
        build_cicids2017(tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(UsageError, match="duplicates"):
        build_cicids2017(path, tmp_path / "out", duplicates="some")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="seed"):
        build_cicids2017(path, tmp_path / "out", seed=-1)
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(DatasetError, match="empty"):
        build_cicids2017(tmp_path / "empty.csv", tmp_path / "out")
    bare = write_table(tmp_path / "bare.csv", [b"Mirai"] * 3)
    with pytest.raises(DatasetError, match="no row can be used"):
        build_cicids2017(bare, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    build_cicids2017(path, tmp_path / "out")
    with pytest.raises(OutputError, match="exists"):
        build_cicids2017(path, tmp_path / "out")
    build_cicids2017(path, tmp_path / "out", seed=2, force=True)
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    with pytest.raises(OutputError, match="no dataset"):
        build_cicids2017(path, tmp_path, force=True)


def test_only_one_class(tmp_path: Path, write_table: WriteTable) -> None:
    info = build_cicids2017(write_table(tmp_path / "a.csv", [b"PortScan"] * 9), tmp_path / "out")
    assert info.rows == 9
    assert info.absent["malicious"] == ("Benign",)


def test_damaged_datasets_are_refused(flows_dataset: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(flows_dataset, tmp_path / "copy"))
    whole = json.loads((copy / "dataset.json").read_text())
    (copy / "dataset.json").write_text(json.dumps(whole | {"features": None}))
    with pytest.raises(DatasetError, match="other columns"):
        Dataset.open(copy).part("honest", "train")
    (copy / "dataset.json").write_text(json.dumps(whole | {"features": {"names": []}}))
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(copy)
    data = bytearray((flows_dataset / "features.parquet").read_bytes())
    place = pq.read_schema(flows_dataset / "features.parquet").names.index(SELECTED[5])
    page = pq.read_metadata(flows_dataset / "features.parquet").row_group(0).column(place)
    middle = page.data_page_offset + page.total_compressed_size // 2
    data[middle : middle + 8] = bytes(8)
    (copy / "dataset.json").write_text(json.dumps(whole))
    (copy / "features.parquet").write_bytes(data)
    with pytest.raises(DatasetError, match="damaged"):
        Dataset.open(copy).part("honest", "all")


def test_parts_as_samples(flows_dataset: Path) -> None:
    dataset = Dataset.open(flows_dataset)
    everything = dataset.part("honest", "all")
    assert everything.dense().shape == (330, 49)
    assert everything.data.dtype == np.float32
    assert np.array_equal(
        everything.dense()[:, 3], dataset.column(SELECTED[3]).to_numpy()[everything.row].astype(np.float32)
    )
    test = dataset.part("honest", "test")
    assert np.array_equal(test.dense(), everything.take(test.row).dense())
    assert set(test.capture.tolist()) == {0}
    with pytest.raises(UsageError, match="mask"):
        dataset.part("honest", "test", mask="strict")
