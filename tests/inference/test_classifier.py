from pathlib import Path

import numpy as np
import pytest

import mtc
from mtc.errors import CaptureError, ModelError, UsageError
from mtc.inference import Classifier, FlowAggregator
from mtc.models import LoadedModel, load_model, predict_logits
from mtc.packets import mask_samples


@pytest.fixture(scope="module")
def classifier(tiny_model: Path) -> Classifier:
    return mtc.Classifier.load(tiny_model, precision="exact")


@pytest.fixture(scope="module")
def samples(short_capture: Path) -> mtc.flows.Samples:
    return mtc.read_samples(short_capture)


def _logits(model: LoadedModel, samples: np.ndarray) -> dict[str, np.ndarray]:
    return predict_logits(model.network, samples.reshape(-1), np.arange(len(samples) + 1) * samples.shape[1])


def _softmax(values: np.ndarray) -> np.ndarray:
    values = np.exp(values - values.max(axis=1, keepdims=True))
    return values / values.sum(axis=1, keepdims=True)


def _without_absent(logits: np.ndarray, absent: np.ndarray) -> np.ndarray:
    logits = logits.astype(np.float64)
    logits[:, absent] = -1e9
    return logits


def _calibrated(model: LoadedModel, task: str, per: str, scores: np.ndarray) -> np.ndarray:
    """By the definition: divided by base times e to the rise times the entropy."""
    found = model.card.calibration.get(task, {}).get(per, {"base": 1.0, "rise": 0.0})
    before = _softmax(scores)
    entropy = -(before * np.log(before + 1e-300)).sum(axis=1, keepdims=True)
    return _softmax(scores / (found["base"] * np.exp(found["rise"] * entropy)))


def test_tasks(classifier: Classifier) -> None:
    assert {task: len(labels) for task, labels in classifier.tasks.items()} == {
        "application": 17,
        "traffic": 12,
        "auxiliary": 6,
    }


def test_predict_is_the_calibrated_softmax_without_absent_classes(
    classifier: Classifier, samples: mtc.flows.Samples
) -> None:
    model = classifier.model
    result = classifier.predict(samples.samples)
    for task, logits in _logits(model, samples.samples).items():
        expected = _calibrated(model, task, "packet", _without_absent(logits, model.absent[task]))
        np.testing.assert_allclose(result[task], expected, atol=1e-5)
        assert result[task].dtype == np.float32
    names = classifier.tasks["application"]
    assert [names[i] for i in np.flatnonzero(result["application"].max(axis=0) == 0)] == [
        "Gmail",
        "SCP",
        "Tor",
    ]


def test_flow_verdict_is_the_mean_of_its_first_ten_packets(
    classifier: Classifier, samples: mtc.flows.Samples, short_capture: Path
) -> None:
    model, flow = classifier.model, samples.headers["flow"]
    verdicts = classifier.classify(short_capture)
    logits = _logits(model, samples.samples)
    for row in verdicts:
        first = np.flatnonzero(flow == row["flow"] - 1)[:10]
        for task, values in logits.items():
            log_p = np.log(_softmax(_without_absent(values[first], model.absent[task])) + 1e-300)
            expected = _calibrated(model, task, "flow", log_p.mean(axis=0, keepdims=True))[0]
            found = np.array(list(row[task]["probabilities"].values()))
            np.testing.assert_allclose(found, expected, atol=1e-4)
        assert row["samples"] == np.count_nonzero(flow == row["flow"] - 1)


@pytest.mark.parametrize("sizes", [[1] * 50, [7, 0, 43], [50]], ids=str)
def test_votes_do_not_depend_on_how_samples_come_in(
    classifier: Classifier, samples: mtc.flows.Samples, sizes: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtc.inference.flow_aggregator.BUFFERED_SAMPLES", 16)
    rng = np.random.default_rng(0)
    flow = rng.integers(0, 4, 50)
    rows = samples.samples[rng.permutation(len(samples))[:50]]
    whole = FlowAggregator(classifier.model, precision="exact")
    whole.add(rows, flow)
    parts = FlowAggregator(classifier.model, precision="exact")
    buffer = np.empty_like(rows)
    for begin, size in zip(np.cumsum([0, *sizes]), sizes, strict=False):
        buffer[:size] = rows[begin : begin + size]  # the caller uses one array again and again
        parts.add(buffer[:size], flow[begin : begin + size])
    counts, _, expected, _ = whole.result(6)
    counts_parts, _, found, _ = parts.result(6)
    assert counts.tolist() == counts_parts.tolist() == np.bincount(flow, minlength=6).tolist()
    for task, values in expected.items():
        np.testing.assert_allclose(found[task][:4], values[:4], atol=1e-5)


def test_the_models_own_mask_is_applied(tiny_model: Path, samples: mtc.flows.Samples) -> None:
    model = load_model(tiny_model)
    config = type(model.card.config).from_dict({**model.card.config.to_dict(), "data": {"mask": "strict"}})
    card = type(model.card)(tasks=model.card.tasks, config=config)
    strict = Classifier(LoadedModel(model.network, card, model.absent))
    given = samples.samples.copy()
    found = strict.predict(given)
    assert np.array_equal(given, samples.samples)
    masked = mask_samples(samples.samples, "strict")
    assert not np.array_equal(masked, given)
    for task, values in strict.predict(masked).items():
        np.testing.assert_array_equal(found[task], values)


def test_no_samples(classifier: Classifier) -> None:
    result = classifier.predict(np.empty((0, 1500), np.uint8))
    assert {task: values.shape for task, values in result.items()} == {
        "application": (0, 17),
        "traffic": (0, 12),
        "auxiliary": (0, 6),
    }


@pytest.mark.parametrize(
    "wrong", [np.zeros((2, 1500), np.float32), np.zeros((2, 784), np.uint8), np.zeros(1500, np.uint8)]
)
def test_samples_of_another_kind_are_refused(classifier: Classifier, wrong: np.ndarray) -> None:
    with pytest.raises(UsageError, match=r"uint8 \(N, 1500\)"):
        classifier.predict(wrong)


def test_classify_is_a_list_of_rows_and_a_table(classifier: Classifier, short_capture: Path) -> None:
    verdicts = classifier.classify(short_capture)
    rows = list(verdicts)
    frame = verdicts.to_pandas()
    assert len(rows) == len(verdicts) == len(frame)
    assert frame["flow"].tolist() == list(range(1, len(rows) + 1))
    assert frame["traffic"].tolist() == [row["traffic"]["label"] for row in rows]
    assert frame["traffic_confidence"].tolist() == [row["traffic"]["confidence"] for row in rows]
    assert frame["traffic_probabilities"][0] == rows[0]["traffic"]["probabilities"]


def test_no_flows_still_have_columns(classifier: Classifier, short_capture: Path, tmp_path: Path) -> None:
    path = tmp_path / "none.pcap"
    path.write_bytes(short_capture.read_bytes()[:24])
    frame = classifier.classify(path).to_pandas()
    assert len(frame) == 0
    assert {"flow", "application", "traffic_confidence"} <= set(frame.columns)


def test_problems_are_told_beside_what_was_read(
    classifier: Classifier, short_capture: Path, tmp_path: Path
) -> None:
    cut = tmp_path / "cut.pcap"
    cut.write_bytes(short_capture.read_bytes()[:-5])
    verdicts = classifier.classify(tmp_path / "missing.pcap", cut)
    assert len(verdicts.captures) == 1
    assert [problem.split(":")[0] for problem in verdicts.problems] == [
        str(tmp_path / "missing.pcap"),
        str(cut),
    ]
    assert len(verdicts) == len(classifier.classify(short_capture))


def test_nothing_readable_is_an_error(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match=r"missing\.pcap"):
        classifier.classify(tmp_path / "missing.pcap")
    with pytest.raises(UsageError):
        classifier.classify()


def test_unknown_model_and_precision(tiny_model: Path) -> None:
    with pytest.raises(ModelError, match="no such model"):
        mtc.Classifier.load("nonsense")
    with pytest.raises(UsageError, match="precision"):
        mtc.Classifier.load(tiny_model, precision="half")  # type: ignore[arg-type]
