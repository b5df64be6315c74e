"""A changed network is computed by its own code everywhere: the faster forms give way, with a warning."""

import dataclasses
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from torch import nn

from mtc.config import ModelConfig, RunConfig
from mtc.models import (
    MTC,
    EncoderLayer,
    ModelCard,
    build_network,
    load_model,
    pack,
    predict_logits,
    save_model,
)
from mtc.models.accelerate import engine_of, packed_form
from mtc.models.fields.engine import FieldsEngine
from mtc.models.networks.cnn import Convolution
from mtc.models.probes import difference, probe_samples

TASKS = {"application": ("a", "b", "c"), "traffic": ("x", "y")}
SMALL = ModelConfig(repetitions=(1, 1, 1), ffn_width=32)
LENGTHS = (0, 60, 203, 1500)


def pre_norm(self, z, *_):
    """An ``EncoderLayer.forward`` as a researcher might try it."""
    z = z + self.attention(self.attention_norm(z))
    return z + self.outer(self.inner(self.ffn_norm(z)).relu())


def _network(config=SMALL, seed=0):
    torch.manual_seed(seed)
    return build_network(config, TASKS).eval()


def _plain(network, samples):
    with torch.inference_mode():
        return {task: values.numpy() for task, values in network(samples).items()}


def test_an_unchanged_network_is_accelerated_without_a_word(ragged):
    for name in ("mtc", "transformer", "cnn"):
        network = _network(dataclasses.replace(SMALL, name=name, encoders=1))
        assert packed_form(network) is not None
        assert (engine_of(network) is not None) == (name == "mtc")
        assert packed_form(network.train()) is not None


def test_an_edited_encoder_is_followed_with_one_warning(ragged, monkeypatch):
    data, offsets, samples = ragged(LENGTHS)
    network = _network()
    before = predict_logits(network, data, offsets)
    monkeypatch.setattr(EncoderLayer, "forward", pre_norm)
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always")
        after = predict_logits(network, data, offsets)
        batch = network(pack(data, offsets, network))
        again = predict_logits(network, data, offsets)
    (warning,) = raised
    assert str(warning.message).startswith("MTC: the network's own forward is used")
    expected = _plain(network, samples)
    assert difference(before, expected) > 0.01
    for task in TASKS:
        for found in (after[task], again[task], batch[task].detach().numpy()):
            np.testing.assert_allclose(found, expected[task], atol=1e-5)
    monkeypatch.undo()
    for task, values in predict_logits(network, data, offsets).items():
        assert np.array_equal(values, before[task])


def test_training_follows_an_edited_encoder(ragged, monkeypatch):
    data, offsets, samples = ragged(LENGTHS)
    config = dataclasses.replace(SMALL, ffn_dropout=0.0, cnn_dropout=0.0)
    monkeypatch.setattr(EncoderLayer, "forward", pre_norm)
    network, plain = _network(config).train(), _network(config).train()
    state = torch.random.get_rng_state()
    with pytest.warns(RuntimeWarning, match="own forward is used"):
        found = network(pack(data, offsets, network, layout="copied"))
    assert torch.equal(state, torch.random.get_rng_state())
    expected = plain(samples)
    for task in TASKS:
        torch.testing.assert_close(found[task], expected[task])


def test_a_parameter_that_changes_nothing_yet_is_trained(ragged):
    """LayerScale that begins at one: the logits are those of before, but its gradient is not zero."""

    class Scaled(EncoderLayer):
        def __init__(self, *sizes):
            super().__init__(*sizes)
            self.scale = nn.Parameter(torch.ones(sizes[0]))

        def forward(self, z_BND):
            return super().forward(z_BND) * self.scale

    network = _network()
    network.block2.encoders[0] = Scaled(50, 6, 32, 0.1)
    data, offsets, _ = ragged(LENGTHS)
    with pytest.warns(RuntimeWarning, match="own forward is used"):
        logits = network.train()(pack(data, offsets, network))
    logits["application"].square().sum().backward()
    assert network.block2.encoders[0].scale.grad.abs().max() > 0


def test_dropout_that_was_added_is_not_missed(ragged, monkeypatch):
    original = EncoderLayer.forward

    def forward(self, z):
        return nn.functional.dropout(original(self, z), 0.5, self.training)

    monkeypatch.setattr(EncoderLayer, "forward", forward)
    network = _network().train()
    with pytest.warns(RuntimeWarning, match="own forward is used"):
        assert packed_form(network) is None
    assert packed_form(network.eval()) is not None


@pytest.mark.parametrize("change", ["subclass", "hook", "instance", "other layer"])
def test_other_ways_to_change_a_network(ragged, change):
    class Sharper(MTC):
        def forward(self, *inputs):
            return {task: 2 * values for task, values in super().forward(*inputs).items()}

    torch.manual_seed(0)
    kind = Sharper if change == "subclass" else MTC
    network = kind(SMALL, {task: len(classes) for task, classes in TASKS.items()}).eval()
    layer = network.block3.encoders[0]
    if change == "hook":
        layer.register_forward_hook(lambda _module, _inputs, z: 2 * z)
    elif change == "instance":
        layer.forward = lambda z: 2 * z
    elif change == "other layer":
        network.block3.encoders[0] = nn.TransformerEncoderLayer(50, 5, 32, batch_first=True).eval()
    data, offsets, samples = ragged(LENGTHS)
    with pytest.warns(RuntimeWarning, match="own forward is used"):
        found = predict_logits(network, data, offsets)
    for task, values in _plain(network, samples).items():
        np.testing.assert_allclose(found[task], values, atol=1e-5)


def test_the_cnn_too(ragged, monkeypatch):
    data, offsets, samples = ragged((*LENGTHS, 1, 1499))
    network = _network(ModelConfig(name="cnn", channels=(8, 6), dense_widths=(9, 7)))
    batch = pack(data, offsets, network)
    assert torch.equal(batch.dense(), samples)
    monkeypatch.setattr(Convolution, "forward", lambda self, x: self._conv_forward(x, self.weight, None))
    with pytest.warns(RuntimeWarning, match="CNN: the network's own"):
        found = network(batch)
    for task, values in _plain(network, samples).items():
        np.testing.assert_allclose(found[task].detach().numpy(), values, atol=1e-5)


@pytest.mark.parametrize("name", ["mtc", "transformer", "cnn", "fields"])
def test_dense_batches_are_bytes_or_shares_of_255(ragged, name):
    data, offsets, samples = ragged(LENGTHS)
    network = _network(dataclasses.replace(SMALL, name=name, encoders=1, leading_bytes=60))
    network.prepare(data, offsets)
    expected = predict_logits(network, data, offsets)
    for batch in (samples, (samples * 255).round().to(torch.uint8), pack(data, offsets, network)):
        for task, values in _plain(network, batch).items():
            np.testing.assert_allclose(values, expected[task], atol=1e-4)


def test_a_model_saved_by_an_edited_network_is_reported(ragged, monkeypatch, tmp_path):
    network = _network()
    monkeypatch.setattr(EncoderLayer, "forward", pre_norm)
    save_model(tmp_path, network, ModelCard(tasks=TASKS, config=RunConfig(model=SMALL)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = predict_logits(load_model(tmp_path).network, *probe_samples(SMALL))
    assert difference(load_model(tmp_path).card.fingerprint["logits"], expected) == 0
    monkeypatch.undo()
    with pytest.warns(RuntimeWarning, match="from the one that was saved"):
        load_model(tmp_path)


def test_an_engine_that_computes_something_else_is_not_used(monkeypatch, tmp_path):
    config = ModelConfig(name="fields", leading_bytes=60, dense_widths=(16, 8), members=2)
    network = _network(config)
    save_model(tmp_path, network, ModelCard(tasks=TASKS, config=RunConfig(model=config)))
    logits = FieldsEngine.logits
    monkeypatch.setattr(
        FieldsEngine, "logits", lambda *given: {task: v + 0.1 for task, v in logits(*given).items()}
    )
    model = load_model(tmp_path)
    with pytest.warns(RuntimeWarning, match="differs by up to 0.1"):
        found = model.logits(*probe_samples(config))
    assert difference(model.card.fingerprint["logits"], found) == 0


@pytest.mark.parametrize("name", ["mtc", "fields"])
def test_without_pytorch_the_stored_logits_are_compared(tmp_path, name):
    config = dataclasses.replace(SMALL, name=name, leading_bytes=60, dense_widths=(16, 8))
    save_model(tmp_path, _network(config), ModelCard(tasks=TASKS, config=RunConfig(model=config)))
    program = f"""
import sys, warnings
from pathlib import Path
from mtc.models import load_model
from mtc.models.files import load
from mtc.models.probes import difference, probe_samples
folder = Path({str(tmp_path)!r})
model = load_model(folder)
found = model.logits(*probe_samples(model.card.config.model))
assert difference(model.card.fingerprint["logits"], found) == 0
assert "torch" not in sys.modules
load.probe_samples = lambda config: (probe_samples(config)[0][::-1].copy(), probe_samples(config)[1])
with warnings.catch_warnings(record=True) as raised:
    model = load_model(folder)
assert "the compiled engine differs" in str(raised[0].message)
assert "torch" in sys.modules
found = model.logits(*probe_samples(model.card.config.model))
assert difference(model.card.fingerprint["logits"], found) == 0
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=300)
