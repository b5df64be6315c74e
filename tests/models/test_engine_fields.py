"""The engine of fields says what the network says, without PyTorch, whatever is computed together."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from mtc.config import ModelConfig
from mtc.errors import ModelError, UsageError
from mtc.models import LoadedModel, ModelCard, build_network, load_model, pack, predict_logits, save_model
from mtc.models.engine.threads import use_threads
from mtc.models.fields.engine import FieldsEngine

TASKS = {"application": ("a", "b", "c"), "traffic": ("x", "y")}
SIZES = {task: len(classes) for task, classes in TASKS.items()}
CONFIG = ModelConfig(
    name="fields", leading_bytes=60, members=3, dense_widths=(70, 24), dense_dropout=0.0, encoding_width=5
)


def packets(count, seed=0):
    """Packets of random length, IPv4 and IPv6, TCP and UDP and something else, some with zeros inside."""
    rng = np.random.default_rng(seed)
    samples = []
    for i in range(count):
        length = int(rng.integers(0, 1501)) if i > 20 else i
        sample = rng.integers(0, 256, length, np.uint8)
        sample[rng.random(length) < 0.3] = 0
        if length > 9:
            version, protocol = ((4, 6), (4, 17), (6, 6), (6, 17), (4, 1), (0, 6))[i % 6]
            sample[0] = 16 * version + 5
            sample[6 if version == 6 else 9] = protocol
        samples.append(sample)
    offsets = np.concatenate([[0], np.cumsum([len(sample) for sample in samples])])
    return np.concatenate(samples), offsets.astype(np.int64)


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    made = build_network(CONFIG, TASKS)
    made.prepare(*packets(300, seed=1))
    made.train()
    for seed in range(3):  # statistics that are not those of the beginning
        made(pack(*packets(64, seed=seed), made))
    for head in made.heads.values():
        head.weight.data.mul_(20)
    return made.eval()


def engine_of(network):
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    return FieldsEngine.of(network.config, network.classes, arrays)


def test_logits_are_those_of_the_network(network):
    data, offsets = packets(700)
    found = engine_of(network).logits(data, offsets)
    with torch.inference_mode():
        expected = network(pack(data, offsets, network))
    for task in TASKS:
        assert found[task].dtype == np.float32
        assert np.ptp(found[task]) > 0.5  # there is something to get wrong
        np.testing.assert_allclose(found[task], expected[task].numpy(), atol=4e-5)


def test_flow_features(network):
    config = ModelConfig(
        name="fields", tokens=7, width=7, leading_bytes=0, dense_widths=(20,), members=2, encoding_width=3
    )
    rows = np.random.default_rng(0).random((500, 49), np.float32)
    rows[::7] = np.round(rows[::7], 1)
    rows[0], rows[1] = 0, 1
    network = build_network(config, TASKS)
    data, offsets = rows.reshape(-1), np.arange(501) * 49
    network.prepare(data, offsets)
    network.eval()
    found = engine_of(network).logits(data, offsets)
    with torch.inference_mode():
        expected = network(pack(data, offsets, network))
    for task in TASKS:
        np.testing.assert_allclose(found[task], expected[task].numpy(), atol=4e-5)


def test_a_verdict_does_not_depend_on_what_else_is_computed(network):
    engine = engine_of(network)
    data, offsets = packets(450)
    threads = torch.get_num_threads()
    try:
        use_threads(3)
        together = engine.logits(data, offsets)
    finally:
        use_threads(threads)
    for i in range(0, 450, 37):
        alone = engine.logits(data[offsets[i] : offsets[i + 1]], np.array([0, offsets[i + 1] - offsets[i]]))
        padded = np.zeros(1500, np.uint8)
        padded[: offsets[i + 1] - offsets[i]] = data[offsets[i] : offsets[i + 1]]
        with_zeros = engine.logits(padded, np.array([0, 1500]))
        for task in TASKS:
            np.testing.assert_allclose(alone[task][0], together[task][i], atol=2e-6)
            np.testing.assert_array_equal(with_zeros[task], alone[task])


def test_progress_counts_every_sample(network):
    done: list[int] = []
    engine_of(network).logits(*packets(450), done.append)
    assert sum(done) == 450
    assert engine_of(network).logits(np.empty(0, np.uint8), np.zeros(1, np.int64))["traffic"].shape == (0, 2)


def test_predict_logits_takes_the_weights_as_they_are_now(network):
    data, offsets = packets(40)
    changed = build_network(CONFIG, TASKS)
    changed.load_state_dict(network.state_dict())
    before = predict_logits(changed.eval(), data, offsets)
    with torch.no_grad():
        changed.heads["traffic"].bias[0] += 1
    after = predict_logits(changed, data, offsets)
    assert np.array_equal(before["application"], after["application"])
    assert (after["traffic"][:, 0] > before["traffic"][:, 0]).all()


def test_weights_that_are_not_finite_are_left_to_the_network(network):
    broken = build_network(CONFIG, TASKS)
    broken.load_state_dict(network.state_dict())
    with torch.no_grad():
        broken.members[0].dense[0].weight[0, 0] = torch.nan
    assert engine_of(broken) is None
    assert np.isnan(predict_logits(broken.eval(), *packets(5))["traffic"]).all()


@pytest.mark.parametrize("change", ["shape", "missing", "more"])
def test_weights_that_do_not_fit_are_refused(network, change):
    arrays = {name: tensor.numpy() for name, tensor in network.state_dict().items()}
    if change == "shape":
        arrays["edges"] = arrays["edges"][1:]
    elif change == "missing":
        del arrays["heads.traffic.bias"]
    else:
        arrays["surprise"] = np.zeros(1)
    with pytest.raises(ModelError, match="do not fit together"):
        FieldsEngine.of(CONFIG, SIZES, arrays)


def test_a_stored_model_needs_no_pytorch_for_verdicts(network, tmp_path):
    from mtc.config import RunConfig

    save_model(tmp_path, network, ModelCard(tasks=TASKS, config=RunConfig(model=CONFIG)))
    np.save(tmp_path / "data.npy", packets(30)[0])
    np.save(tmp_path / "offsets.npy", packets(30)[1])
    program = f"""
import sys
from pathlib import Path
import numpy as np
from mtc.models import load_model
folder = Path({str(tmp_path)!r})
model = load_model(folder)
logits = model.logits(np.load(folder / "data.npy"), np.load(folder / "offsets.npy"), precision="auto")
np.save(folder / "found.npy", logits["application"])
assert "torch" not in sys.modules
assert model.network.config.name == "fields"  # it is there where it is asked for
assert "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
    model = load_model(tmp_path)
    expected = predict_logits(model.network, *packets(30))["application"]
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected, atol=2e-6)
    again = LoadedModel(model.network, model.card, model.absent).logits(*packets(30))["application"]
    np.testing.assert_array_equal(again, expected)
    with pytest.raises(UsageError, match="at most 1500"):
        load_model(tmp_path).logits(np.zeros(1501, np.uint8), np.array([0, 1501]))
