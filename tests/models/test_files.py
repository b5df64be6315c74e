"""The model file: what is saved comes back; what is damaged is refused in a sentence."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

import mtc
from mtc.config import ModelConfig, RunConfig
from mtc.errors import ModelError
from mtc.models import (
    ModelCard,
    Temperature,
    build_network,
    load_model,
    predict_logits,
    round_to_stored,
    save_model,
)
from mtc.models.probes import network_code, probe_samples

TASKS = {"vendor": ("a", "b", "c"), "kind": ("x", "y")}
CONFIG = RunConfig(model=ModelConfig(repetitions=(1, 1, 1), ffn_width=32))


PACKET, FLOW = {"base": 1.5, "rise": 0.0}, {"base": 2.5, "rise": 0.1}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    network = build_network(CONFIG.model, TASKS)
    card = ModelCard(
        tasks=TASKS,
        config=CONFIG,
        calibration={"kind": {"packet": PACKET, "flow": FLOW}},
        absent={"kind": ["y"]},
    )
    save_model(tmp_path / "model", network, card)
    return tmp_path / "model", network, card


def test_a_model_comes_back(saved):
    folder, network, _ = saved
    loaded = load_model(folder)
    assert not loaded.network.training
    assert loaded.card.tasks == TASKS
    assert loaded.card.config == CONFIG
    assert loaded.temperatures("flow") == {"vendor": Temperature(), "kind": Temperature(2.5, 0.1)}
    assert {task: indices.tolist() for task, indices in loaded.absent.items()} == {"vendor": [], "kind": [1]}
    round_to_stored(network)
    for name, tensor in network.state_dict().items():
        assert torch.equal(loaded.network.state_dict()[name], tensor), name


def test_only_matrices_are_stored_in_half_precision(saved):
    stored = load_file(saved[0] / "model.safetensors")
    assert stored["block1.bottleneck.middle.weight"].dtype == np.float16
    assert stored["block1.bottleneck.middle.norm.running_var"].dtype == np.float32


def test_verdicts_survive_the_file(saved):
    folder, network, _ = saved
    round_to_stored(network)
    data = np.random.default_rng(0).integers(0, 256, 3000, dtype=np.uint8)
    offsets = np.array([0, 40, 240, 1500, 3000])
    before = predict_logits(network.eval(), data, offsets)
    after = predict_logits(load_model(folder).network, data, offsets)
    for task in TASKS:
        assert np.array_equal(before[task], after[task])


def _cut_weights(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def _change_card(**changes):
    def change(folder):
        path = folder / "model.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return change


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda folder: (folder / "model.json").unlink(), "model.json is missing"),
        (lambda folder: (folder / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda folder: (folder / "model.json").write_text("{"), "model.json is damaged"),
        (lambda folder: (folder / "model.json").write_text("[]"), "model.json is damaged"),
        (lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe"), "cannot be read"),
        (_cut_weights, "SHA-256 is not that in model.json"),
        (_change_card(format_version=99), "model format 99"),
        (_change_card(surprise=1), "damaged"),
        (_change_card(absent=True), "absent is no object of lists of names"),
        (_change_card(tasks={"application": "abc"}), "tasks is no object of lists of names"),
        (lambda folder: (folder / "model.json").write_text("[" * 200_000), "model.json is damaged"),
        (_change_card(tasks={"vendor": ["a"]}), "do not fit"),
        (_change_card(config={"model": {"name": "nothing"}}), "damaged"),
    ],
)
def test_damage_is_told_in_one_line(saved, damage, reason):
    damage(saved[0])
    with pytest.raises(ModelError, match=reason) as caught:
        load_model(saved[0])
    assert "\n" not in str(caught.value)


def test_no_such_folder(tmp_path):
    with pytest.raises(ModelError, match="no such model"):
        load_model(tmp_path / "nothing")


def test_a_file_of_the_first_version_is_migrated(saved):
    folder, _, _ = saved
    values = json.loads((folder / "model.json").read_text())
    for name in ("pairs", "flow_packets", "fingerprint"):
        del values[name]
    first = {"format_version": 1, "calibration": {"kind": {"packet": 1.5, "flow": 9.0}}}
    (folder / "model.json").write_text(json.dumps(values | first))
    loaded = load_model(folder)
    assert (loaded.card.format_version, loaded.card.flow_packets, loaded.card.pairs) == (3, 10, {})
    # Its flow temperature was one for sums of packets; that of their mean is about that of a packet.
    for per in ("packet", "flow"):
        assert loaded.temperatures(per) == {"vendor": Temperature(), "kind": Temperature(1.5)}


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (4, "format 4 is newer than this version of mtc, which reads 1 to 3; it was written by mtc 9.9"),
        (0, "format 0 is older than 1"),
        ("1", "is no number"),
        (None, "is no number"),
    ],
)
def test_a_version_that_cannot_be_read_is_refused_with_the_reason(saved, version, reason):
    folder = saved[0]
    _change_card(format_version=version, mtc_version="9.9")(folder)
    with pytest.raises(ModelError, match=reason) as error:
        load_model(folder)
    assert str(error.value).startswith(f"{folder}: ")


@pytest.mark.parametrize(
    "changes",
    [
        {"flow_packets": 0},
        {"flow_packets": "5"},
        {"calibration": {"kind": {"packet": PACKET}}},
        {"calibration": {"kind": {"packet": PACKET, "flow": 2.5}}},
        {"calibration": {"kind": {"packet": PACKET, "flow": {"base": 0.0, "rise": 0.0}}}},
        {"pairs": ["vendor"]},
        {"pairs": {"vendor": {"kind": ["a"]}}},
        {"pairs": {"vendor": {"kind": {"a": "x"}}}},
    ],
    ids=str,
)
def test_settings_of_verdicts_are_checked(saved, changes):
    _change_card(**changes)(saved[0])
    with pytest.raises(ModelError, match=r"model\.json is damaged"):
        load_model(saved[0])


def test_the_card_has_the_fingerprint_of_the_files(saved):
    folder, network, _ = saved
    known = load_model(folder).card.fingerprint
    content = (folder / "model.safetensors").read_bytes()
    assert known["sha256"] == {"model.safetensors": hashlib.sha256(content).hexdigest()}
    round_to_stored(network)
    found = predict_logits(network.eval(), *probe_samples(network.config))
    for task in TASKS:
        np.testing.assert_allclose(known["logits"][task], found[task], atol=1e-4)


def test_a_file_of_before_fingerprints_is_read(saved, without_fingerprint):
    folder, network, _ = saved
    round_to_stored(network)
    expected = predict_logits(network.eval(), *probe_samples(network.config))
    without_fingerprint(folder)
    found = load_model(folder).logits(*probe_samples(network.config))
    for task in TASKS:
        assert np.array_equal(expected[task], found[task])


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("block1.bottleneck.reduce.weight", np.nan, "NaN or infinite"),
        ("block2.first.middle.norm.weight", np.inf, "NaN or infinite"),
        ("heads.kind.bias", 1e30, "absurd numbers"),
        ("block1.bottleneck.reduce.norm.running_var", -1.0, "negative variance"),
    ],
)
def test_weights_that_no_training_ends_with_are_refused(saved, without_fingerprint, name, value, reason):
    folder = saved[0]
    weights = load_file(folder / "model.safetensors")
    weights[name].reshape(-1)[0] = value
    save_file(weights, folder / "model.safetensors")
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(folder)
    without_fingerprint(folder)
    with pytest.raises(ModelError, match=reason) as error:
        load_model(folder)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_bundled_models_have_the_fingerprint_of_the_present_code():
    folder = Path(mtc.__file__).parent / "assets" / "models"
    for path in sorted(folder.glob("*/model.json")):
        known = json.loads(path.read_text())["fingerprint"]
        assert known["code"] == network_code(), "run python scripts/bundle_model.py --stamp"
