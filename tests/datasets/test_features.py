"""Names of flow features, and the transform that brings them into [0, 1]."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.preprocessing import QuantileTransformer

from mtc.datasets import FEATURES, SELECTED, QuantileScaler
from mtc.datasets.flow_features.columns import match_columns
from mtc.datasets.flow_features.features import positions
from mtc.errors import ModelError, UsageError

CICFLOWMETER_4 = (
    "Dst Port,Protocol,Timestamp,Flow Duration,Tot Fwd Pkts,Tot Bwd Pkts,TotLen Fwd Pkts,TotLen Bwd Pkts,"
    "Fwd Pkt Len Max,Fwd Pkt Len Min,Fwd Pkt Len Mean,Fwd Pkt Len Std,Bwd Pkt Len Max,Bwd Pkt Len Min,"
    "Bwd Pkt Len Mean,Bwd Pkt Len Std,Flow Byts/s,Flow Pkts/s,Flow IAT Mean,Flow IAT Std,Flow IAT Max,"
    "Flow IAT Min,Fwd IAT Tot,Fwd IAT Mean,Fwd IAT Std,Fwd IAT Max,Fwd IAT Min,Bwd IAT Tot,Bwd IAT Mean,"
    "Bwd IAT Std,Bwd IAT Max,Bwd IAT Min,Fwd PSH Flags,Bwd PSH Flags,Fwd URG Flags,Bwd URG Flags,"
    "Fwd Header Len,Bwd Header Len,Fwd Pkts/s,Bwd Pkts/s,Pkt Len Min,Pkt Len Max,Pkt Len Mean,Pkt Len Std,"
    "Pkt Len Var,FIN Flag Cnt,SYN Flag Cnt,RST Flag Cnt,PSH Flag Cnt,ACK Flag Cnt,URG Flag Cnt,"
    "CWE Flag Count,ECE Flag Cnt,Down/Up Ratio,Pkt Size Avg,Fwd Seg Size Avg,Bwd Seg Size Avg,"
    "Fwd Byts/b Avg,Fwd Pkts/b Avg,Fwd Blk Rate Avg,Bwd Byts/b Avg,Bwd Pkts/b Avg,Bwd Blk Rate Avg,"
    "Subflow Fwd Pkts,Subflow Fwd Byts,Subflow Bwd Pkts,Subflow Bwd Byts,Init Fwd Win Byts,"
    "Init Bwd Win Byts,Fwd Act Data Pkts,Fwd Seg Size Min,Active Mean,Active Std,Active Max,Active Min,"
    "Idle Mean,Idle Std,Idle Max,Idle Min,Label"
)


def test_the_49_names() -> None:
    # docs/paper.md lists them group by group, e.g. "Flow IAT Mean, Std, Max, Min".
    assert len(FEATURES) == len(set(FEATURES)) == 78
    assert len(SELECTED) == 49
    assert positions(SELECTED).tolist() == sorted(positions(SELECTED))
    left_out = set(FEATURES) - set(SELECTED)
    constant = {"Bwd PSH Flags", "Fwd URG Flags", "Bwd URG Flags", "CWE Flag Count"} | {
        f"{way} Avg {what}" for way in ("Fwd", "Bwd") for what in ("Bytes/Bulk", "Packets/Bulk", "Bulk Rate")
    }
    assert constant < left_out
    assert len(constant) == 10
    assert "Fwd Header Length.1" in left_out
    with pytest.raises(UsageError, match="Speed"):
        positions(("Speed",))


def test_header_of_the_download(request: pytest.FixtureRequest) -> None:
    header = request.getfixturevalue("original_header").split(",")
    columns = match_columns(header)
    assert [columns.features[name] for name in FEATURES] == list(range(78))
    assert (columns.label, columns.missing, columns.unused) == (78, (), ())


@pytest.mark.parametrize(
    "spelling",
    [str.upper, lambda name: f"  {name} ", lambda name: name.replace(" ", "_").lower()],
    ids=["capitals", "blanks", "underscores"],
)
def test_other_spellings(spelling, original_header: str) -> None:  # type: ignore[no-untyped-def]
    columns = match_columns([spelling(name.strip()) for name in original_header.split(",")])
    assert [columns.features[name] for name in FEATURES] == list(range(78))
    assert columns.label == 78


def test_newer_cicflowmeter() -> None:
    header = CICFLOWMETER_4.split(",")
    columns = match_columns(header)
    assert columns.missing == ()
    assert columns.unused == ("Protocol", "Timestamp")
    assert header[columns.features["Average Packet Size"]] == "Pkt Size Avg"
    assert header[columns.features["min_seg_size_forward"]] == "Fwd Seg Size Min"
    # There is no second header length: the first stands for it.
    assert columns.features["Fwd Header Length.1"] == columns.features["Fwd Header Length"]


def test_pandas_name_of_the_doubled_column_and_repeats() -> None:
    columns = match_columns(["Fwd Header Length", "Fwd Header Length.1", "Idle Min", " Idle Min", "Label"])
    assert columns.features == {"Fwd Header Length": 0, "Fwd Header Length.1": 1, "Idle Min": 2}
    assert columns.unused == ("Idle Min",)
    assert len(columns.missing) == 75


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 60), st.integers(2, 40), st.integers(1, 12))
def test_scales_as_scikit_learn_does(seed: int, rows: int, levels: int, distinct: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.integers(0, distinct, (rows, 3)).astype(np.float32) * np.float32(1.7e4)
    theirs = QuantileTransformer(n_quantiles=min(levels, rows), subsample=None).fit(values.astype(np.float64))
    theirs.quantiles_ = theirs.quantiles_.astype(np.float32).astype(np.float64)
    scaler = QuantileScaler.fit(values, levels=levels)
    assert np.array_equal(scaler.quantiles, theirs.quantiles_)
    others = np.concatenate([values, rng.uniform(-1e4, 2e4 * distinct, (40, 3)).astype(np.float32)])
    scaled = scaler.transform(others)
    assert scaled.dtype == np.float32
    assert np.allclose(scaled, theirs.transform(others.astype(np.float64)), atol=1e-6)
    assert scaled.min() >= 0
    assert scaled.max() <= 1


def test_odd_values_at_classify_time() -> None:
    scaler = QuantileScaler.fit(np.array([[-3.0, 1.0], [0.0, 2.0], [9.0, 3.0]]))
    rows = np.array([[np.nan, np.nan], [np.inf, np.inf], [-np.inf, -np.inf], [1e300, -1e300]])
    expected = np.array([[0.0, 0.0], [9.0, 3.0], [-3.0, 1.0], [9.0, 1.0]])
    assert np.array_equal(scaler.transform(rows), scaler.transform(expected))
    assert scaler.transform(expected)[:, 0].tolist() == [0.5, 1, 0, 1]
    assert scaler.transform(rows[:0]).shape == (0, 2)


def test_what_cannot_be_fitted_or_scaled() -> None:
    for wrong in (np.empty((0, 2)), np.array([[np.nan]]), np.array([[1.0], [np.inf]])):
        with pytest.raises(UsageError, match="finite"):
            QuantileScaler.fit(wrong)
    scaler = QuantileScaler.fit(np.zeros((4, 2)))
    with pytest.raises(UsageError, match="2 features"):
        scaler.transform(np.zeros((4, 3)))
    # A constant was the minimum and the maximum; scikit-learn has it at 0, and what is above at 1.
    assert scaler.transform(np.array([[0.0, 1.0], [-1.0, np.inf]])).tolist() == [[0, 1], [0, 0]]


def test_arrays_and_back() -> None:
    scaler = QuantileScaler.fit(np.random.default_rng(1).normal(size=(300, 4)), levels=50)
    arrays = json.loads(json.dumps({name: array.tolist() for name, array in scaler.to_dict().items()}))
    assert np.array_equal(QuantileScaler.from_dict(arrays).quantiles, scaler.quantiles)
    assert scaler.quantiles.shape == (50, 4)
    quantiles = scaler.quantiles
    for wrong in (
        {},
        {"quantiles": quantiles, "more": quantiles},
        {"quantiles": quantiles[0]},
        {"quantiles": quantiles[:0]},
        {"quantiles": quantiles[::-1]},
        {"quantiles": np.where(quantiles == quantiles[3, 1], np.nan, quantiles)},
    ):
        with pytest.raises(ModelError):
            QuantileScaler.from_dict(wrong)


def test_selection_of_the_reference() -> None:
    from mtc.datasets.flow_features.selection import FeatureStatistics

    rng = np.random.default_rng(2)
    values = rng.normal(size=(4000, 78)) * rng.uniform(1, 1e6, 78)
    place = {name: i for i, name in enumerate(FEATURES)}
    values[:, place["CWE Flag Count"]] = 1e-4 * rng.normal(size=4000)
    values[:, place["Flow Duration"]] = 3 * values[:, place["Fwd IAT Total"]] + 5
    values[:, place["Idle Min"]] = -values[:, place["Idle Max"]]  # the reference looks at the sign
    values[:, place["Fwd Header Length.1"]] = values[:, place["Fwd Header Length"]]
    statistics = FeatureStatistics()
    for block in np.array_split(values, 7):
        statistics.add(block)
    found = statistics.selection()
    assert found.constant == ("CWE Flag Count",)
    assert found.correlated == {"Flow Duration": "Fwd IAT Total"}
    dropped = {"CWE Flag Count", "Flow Duration", "Fwd Header Length.1"}
    assert found.kept == tuple(name for name in FEATURES if name not in dropped)
    assert found.read_though_dropped == ()
    assert set(found.unread_though_kept) == set(FEATURES) - set(SELECTED) - dropped
    correlation = np.corrcoef(values.T)[place["Flow Duration"], place["Fwd IAT Total"]]
    assert correlation > 0.98


def test_model_file_carries_the_transform(flows_model: Path, tmp_path: Path) -> None:
    import shutil

    from safetensors.numpy import load_file, save_file

    from mtc.models import load_model

    model = load_model(flows_model)
    assert tuple(model.card.features) == SELECTED
    assert model.scaler is not None
    arrays = load_file(flows_model / "model.safetensors")
    assert np.array_equal(model.scaler.quantiles, arrays["preprocessing.quantiles"])
    copy = Path(shutil.copytree(flows_model, tmp_path / "copy"))
    for change in (lambda q: -q, lambda q: q[:, :7], None):
        changed = dict(arrays)
        quantiles = changed.pop("preprocessing.quantiles")
        if change is not None:
            changed["preprocessing.quantiles"] = np.ascontiguousarray(change(quantiles))
        save_file(changed, copy / "model.safetensors")
        with pytest.raises(ModelError):
            load_model(copy)
