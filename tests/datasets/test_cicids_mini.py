"""65,512 real rows of CICIDS2017, in the layout of the original download."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtc.datasets import FEATURES, SELECTED, Dataset, DatasetInfo, QuantileScaler, build_cicids2017
from mtc.datasets.flow_features.balance import balanced_counts
from mtc.datasets.flow_features.samples import balance_samples, scale_samples


@pytest.fixture(scope="module")
def mini(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    source = shared_data / "cicids2017-mini"
    if not source.is_dir():
        pytest.skip("no cicids2017-mini in the real data")
    out = tmp_path_factory.mktemp("cicids") / "out"
    build_cicids2017(source, out)
    return Dataset.open(out)


@pytest.fixture(scope="module")
def info(mini: Dataset) -> DatasetInfo:
    return mini.info


def test_rows_and_labels(info: DatasetInfo) -> None:
    # The counts of the data's README.
    assert info.packets == 65_512
    assert info.features is not None
    assert {label: n for label, n in info.features.labels.items() if n} == {
        "BENIGN": 46_988,
        "FTP-Patator": 6_387,
        "SSH-Patator": 4_908,
        "Bot": 1_566,
        "DoS Hulk": 1_235,
        "Web Attack - Brute Force": 1_205,
        "PortScan": 1_195,
        "DDoS": 817,
        "DoS GoldenEye": 635,
        "Web Attack - XSS": 522,
        "Infiltration": 28,
        "Web Attack - Sql Injection": 16,
        "Heartbleed": 10,
    }
    assert info.features.repeats.repeated_rows == 4_998
    assert info.features.unknown_labels == {}
    assert info.report.unreadable == {}
    # Counted with pandas: 20 rows hold a NaN, 30 others an Infinity.
    assert info.left_out == {"infiltration": 28, "infinite": 30, "not_a_number": 20}


def test_no_nan_is_left(mini: Dataset) -> None:
    read = ~mini.column("synthetic").to_numpy()
    assert read.sum() == 65_512 - 78
    for name in FEATURES:
        assert np.isfinite(mini.column(name).to_numpy()[read]).all()
    for split in mini.splits:
        assert np.isfinite(mini.part(split, "all").data).all()


def test_the_49_features_and_what_these_data_would_have_kept(info: DatasetInfo) -> None:
    assert info.features is not None
    assert info.features.selected == SELECTED
    selection = info.features.selection
    # The ten constant features are those that the selection leaves out for it.
    assert len(selection.constant) == 10
    assert not set(selection.constant) & set(SELECTED)
    assert selection.read_though_dropped == (
        "Flow Packets/s",
        "Flow IAT Max",
        "Fwd Header Length",
        "Bwd Header Length",
        "Packet Length Mean",
    )
    assert len(selection.unread_though_kept) == 6


def test_counts_of_the_split_paper(info: DatasetInfo, mini: Dataset) -> None:
    assert info.features is not None
    classes = info.features.classes
    targets = balanced_counts({name: classes[name].kept for name in info.tasks["attack"]})
    # 46,952 benign rows are 2.3 % of the paper's: 1,330,000 * 46,952 / 2,035,505, and so on.
    assert targets == {
        "Benign": 30_678,
        "DoS/DDoS": 8_073,
        "PortScan": 1_742,
        "Brute force": 11_292,
        "Web attack": 1_743,
        "Botnet ARES": 1_562,
    }
    assert {name: classes[name].balanced for name in targets} == targets
    everything = mini.part("paper", "all")
    counts = np.bincount(everything.labels["attack"], minlength=6)
    assert dict(zip(info.tasks["attack"], counts.tolist(), strict=True)) == targets
    synthetic = mini.column("synthetic").to_numpy()
    assert synthetic.sum() == info.features.synthesised == (8_073 - 2_691) + (1_742 - 1_194)
    assert (everything.capture[synthetic[everything.row]] == -1).all()
    for name in set(FEATURES) - set(SELECTED):
        assert np.isnan(mini.column(name).to_numpy()[synthetic]).all()


def test_the_split_honest_holds_no_made_row_and_no_copy(mini: Dataset) -> None:
    parts = {name: mini.part("honest", name) for name in ("train", "validation", "test")}
    assert sum(map(len, parts.values())) == 65_512 - 78
    assert all((part.capture >= 0).all() for part in parts.values())
    seen = {name: {row.tobytes() for row in part.dense()} for name, part in parts.items()}
    assert not seen["train"] & seen["test"]
    assert not seen["train"] & seen["validation"]
    assert not seen["validation"] & seen["test"]
    for name, share in (("train", 0.64), ("validation", 0.16), ("test", 0.2)):
        counts = np.bincount(parts[name].labels["attack"], minlength=6)
        total = np.bincount(mini.part("honest", "all").labels["attack"], minlength=6)
        assert np.allclose(counts / total, share, atol=0.01)


def test_counts_of_the_split_honest_before_and_after_its_balance(mini: Dataset) -> None:
    train = mini.part("honest", "train")
    names = mini.tasks["attack"]

    def by_class(labels: NDArray[np.int64]) -> dict[str, int]:
        return dict(zip(names, np.bincount(labels, minlength=len(names)).tolist(), strict=True))

    before = by_class(train.labels["attack"])
    # 64 % of each class.
    assert before == {
        "Benign": 30_050,
        "DoS/DDoS": 1_723,
        "PortScan": 764,
        "Brute force": 7_228,
        "Web attack": 1_116,
        "Botnet ARES": 1_000,
    }
    balanced = balance_samples(scale_samples(train, QuantileScaler.fit(train.dense())), mini.tasks, 1)
    # Table 2's balanced counts times 30,050 / 2,035,505, where they are more than there is.
    after = by_class(balanced.labels["attack"])
    assert after == before | {"Benign": 19_635, "DoS/DDoS": 5_167, "PortScan": 1_115}
    made = balanced.row < 0
    assert made.sum() == (5_167 - 1_723) + (1_115 - 764)
    assert not made[np.isin(balanced.labels["attack"], [0, 3, 4, 5])].any()
    assert len(np.unique(balanced.row[~made])) == (~made).sum()
