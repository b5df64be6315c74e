import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.neighbors import KNeighborsClassifier

from mtc.config import ModelConfig, RunConfig
from mtc.datasets.samples import LabelledSamples
from mtc.errors import ModelError
from mtc.models import ModelCard, build_network, load_model, predict_logits, round_to_stored, save_model
from mtc.models.shallow.base import ShallowNetwork
from mtc.models.shallow.forest import TRIED
from mtc.models.shallow.inputs import FIELDS, field_numbers
from mtc.packets import field_names

TASKS = {"application": ("a", "never", "b", "c"), "odd/name": ("x", "y")}
NAMES = ("gradient-boosting", "extra-trees", "nearest-neighbour", "majority")


def make_samples(n: int, seed: int) -> LabelledSamples:
    """UDP samples; the low byte of the TTL tells the class, a byte of the payload the second task."""
    rng = np.random.default_rng(seed)
    application = rng.choice([0, 2, 3], n)
    other = rng.integers(0, 2, n)
    dense = np.zeros((n, 90), np.uint8)
    dense[:, 0], dense[:, 9] = 0x45, 17
    dense[:, 8] = 50 + 40 * application + rng.integers(0, 9, n)
    dense[:, 4:6] = rng.integers(0, 256, (n, 2))
    dense[:, 40:89] = rng.integers(0, 256, (n, 49))
    dense[:, 50] = 30 + 120 * other + rng.integers(0, 20, n)
    dense[:, 89] = 1
    return LabelledSamples(
        data=dense.reshape(-1),
        offsets=np.arange(n + 1) * 90,
        labels={"application": application, "odd/name": np.where(np.arange(n) % 4 == 0, -1, other)},
        flow=np.arange(n, dtype=np.int32),
        capture=np.zeros(n, np.int32),
        time=np.arange(n),
        row=np.arange(n),
    )


def features(n: int, seed: int) -> LabelledSamples:
    packets = make_samples(n, seed)
    values = np.random.default_rng(seed).random((n, 49)).astype(np.float32)
    values[:, 3] = packets.labels["application"] / 4 + values[:, 3] / 8
    values[:, 7] = packets.labels["odd/name"] / 2 + values[:, 7] / 4
    return dataclasses.replace(packets, data=values.reshape(-1), offsets=np.arange(n + 1) * 49)


def fitted(name: str, **settings: object) -> ShallowNetwork:
    config = ModelConfig(name=name, boosting_rounds=12, forest_trees=15, **settings)  # type: ignore[arg-type]
    network = build_network(config, TASKS)
    assert isinstance(network, ShallowNetwork)
    if config.length == 49:
        network.fit(features(300, 1), features(80, 2), seed=1)
    else:
        network.fit(make_samples(300, 1), make_samples(80, 2), seed=1)
    return network.eval()


def accuracy(network: ShallowNetwork, part: LabelledSamples, task: str) -> float:
    logits = predict_logits(network, part.data, part.offsets)[task]
    known = part.labels[task] >= 0
    return float((logits.argmax(axis=1) == part.labels[task])[known].mean())


@pytest.mark.parametrize("inputs", ["bytes", "fields", "features"])
@pytest.mark.parametrize("name", ["gradient-boosting", "extra-trees"])
def test_trees_learn_what_a_value_tells(name: str, inputs: str) -> None:
    if inputs == "features":
        network = fitted(name, tokens=7, width=7)
        assert accuracy(network, features(100, 3), "odd/name") > 0.9
        assert accuracy(network, features(100, 3), "application") > 0.9
        return
    network = fitted(name, shallow_inputs=inputs)
    assert accuracy(network, make_samples(100, 3), "application") > 0.9
    by_payload = accuracy(network, make_samples(100, 3), "odd/name")
    assert by_payload > 0.8 if inputs == "bytes" else by_payload < 0.75  # no field tells it


def test_a_forest_of_arrays_votes_as_scikit_learns() -> None:
    part, unseen = make_samples(300, 1), make_samples(100, 3)
    forest = ExtraTreesClassifier(15, class_weight="balanced", max_features=TRIED, random_state=1)
    forest.fit(part.dense()[:, :400], part.labels["application"])
    expected = np.zeros((100, 4))
    expected[:, forest.classes_] = forest.predict_proba(unseen.dense()[:, :400])
    logits = predict_logits(fitted("extra-trees"), unseen.data, unseen.offsets)["application"]
    assert np.allclose(np.exp(logits), (15 * expected + 0.5 / 4) / 15.5, atol=2e-3)  # shares are float16


def test_the_nearest_neighbour_is_scikit_learns() -> None:
    part, unseen = make_samples(300, 1), make_samples(100, 3)
    reference = KNeighborsClassifier(1).fit(part.dense()[:, :400], part.labels["application"])
    logits = predict_logits(fitted("nearest-neighbour"), unseen.data, unseen.offsets)["application"]
    assert (logits.argmax(axis=1) == reference.predict(unseen.dense()[:, :400])).all()
    distances = reference.kneighbors(unseen.dense()[:, :400])[0][:, 0]
    assert np.allclose(-logits.max(axis=1), distances, rtol=1e-4)


def test_the_majority_is_the_most_frequent_class() -> None:
    logits = predict_logits(fitted("majority"), *_flat(make_samples(9, 3)))["application"]
    counts = np.bincount(make_samples(300, 1).labels["application"], minlength=4)
    assert (logits.argmax(axis=1) == counts.argmax()).all()
    assert np.allclose(np.exp(logits[0])[counts > 0], counts[counts > 0] / 300, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["packets", "features"])
def test_a_stored_model_gives_the_same_logits(name: str, kind: str, tmp_path: Path) -> None:
    settings = {"tokens": 7, "width": 7} if kind == "features" else {}
    network, part = fitted(name, **settings), (features if kind == "features" else make_samples)(40, 5)
    round_to_stored(network)
    expected = predict_logits(network, part.data, part.offsets)
    save_model(tmp_path, network, ModelCard(tasks=TASKS, config=RunConfig(model=network.config)))
    assert not [file for file in tmp_path.iterdir() if file.suffix in (".pkl", ".joblib", ".pt")]
    found = predict_logits(load_model(tmp_path).network, part.data, part.offsets)
    for task in TASKS:
        assert np.array_equal(expected[task], found[task])


def test_a_limit_on_rows_is_kept() -> None:
    network = fitted("nearest-neighbour", shallow_rows=50)
    assert len(network.kept("application", "samples")) == 50


def test_a_task_of_one_class_is_no_error() -> None:
    part = make_samples(30, 1)
    part = dataclasses.replace(part, labels={"application": np.full(30, 2), "odd/name": np.full(30, -1)})
    part.labels["odd/name"][:5] = 1  # type: ignore[index]
    for name in NAMES:
        network = build_network(ModelConfig(name=name, forest_trees=2), TASKS)  # type: ignore[arg-type]
        assert isinstance(network, ShallowNetwork)
        network.fit(part, part, seed=1)
        logits = predict_logits(network, part.data, part.offsets)["application"]
        assert np.isfinite(logits).all()
        assert (logits.argmax(axis=1) == 2).all()


def test_damaged_trees_are_refused_before_they_are_followed(
    tmp_path: Path, without_fingerprint: Callable[[Path], None]
) -> None:
    save_model(tmp_path, fitted("extra-trees"), ModelCard(tasks=TASKS, config=_config("extra-trees")))
    without_fingerprint(tmp_path)
    good = load_file(tmp_path / "model.safetensors")
    wrong = {
        "children": lambda a: np.zeros_like(a),  # would never end
        "feature": lambda a: a + 5000,
        "leaf": lambda a: a + 10_000,
        "roots": lambda a: a - 1,
        "threshold": lambda a: a[:-1],
    }
    for name, damage in wrong.items():
        arrays = {k: v.copy() for k, v in good.items()}
        arrays[f"task0_{name}"] = np.ascontiguousarray(damage(arrays[f"task0_{name}"]))
        save_file(arrays, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match="damaged"):
            load_model(tmp_path)
    del good["task1_leaf"]
    save_file(good, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="missing"):
        load_model(tmp_path)


def test_damaged_texts_are_refused(tmp_path: Path, without_fingerprint: Callable[[Path], None]) -> None:
    card = ModelCard(tasks=TASKS, config=_config("gradient-boosting"))
    save_model(tmp_path, fitted("gradient-boosting"), card)
    assert load_model(tmp_path)
    without_fingerprint(tmp_path)
    text = (tmp_path / "lightgbm-0.txt").read_text()
    assert text.startswith("tree\n")  # what LightGBM's own tools read
    (tmp_path / "lightgbm-0.txt").write_text((tmp_path / "lightgbm-1.txt").read_text())
    with pytest.raises(ModelError, match="does not fit"):
        load_model(tmp_path)
    (tmp_path / "lightgbm-0.txt").write_text("no trees")
    with pytest.raises(ModelError, match="damaged"):
        load_model(tmp_path)
    (tmp_path / "lightgbm-0.txt").unlink()
    with pytest.raises(ModelError, match="missing"):
        load_model(tmp_path)


@pytest.mark.parametrize(("version", "protocol"), [(4, 6), (4, 17), (6, 6), (6, 17)])
def test_fields_are_the_numbers_that_the_map_of_bytes_tells(version: int, protocol: int) -> None:
    sample = np.arange(7, 97, dtype=np.uint8)[None].copy()
    sample[0, 0] = version << 4 | 5
    sample[0, 6 if version == 6 else 9] = protocol
    found = dict(zip(FIELDS, field_numbers(sample.reshape(-1), np.array([0, 90]))[0], strict=True))
    names = np.array(field_names(version, protocol)[:90])
    for name in FIELDS:
        expected = int.from_bytes(sample[0, names == name].tobytes(), "big") if name in names else -1
        assert found[name] == expected


def _flat(part: LabelledSamples) -> tuple[np.ndarray, np.ndarray]:
    return part.data, part.offsets


def _config(name: str) -> RunConfig:
    return RunConfig(model=ModelConfig(name=name))  # type: ignore[arg-type]
