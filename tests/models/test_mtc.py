"""MTC against Table 3, against literal re-implementations, and in training."""

import dataclasses
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtc.config import ModelConfig
from mtc.models import MTC, EncoderLayer, build_network, pack
from mtc.models.networks.mtc import Bottleneck, ConvNorm
from mtc.models.packed.encoder import keep_mask

pytestmark = pytest.mark.slow

CLASSES = {"application": 17, "traffic": 12, "auxiliary": 6}
NO_DROPOUT = ModelConfig(ffn_dropout=0.0, cnn_dropout=0.0)
SMALL = ModelConfig(tokens=7, width=7, heads=7)


def _settle(network):
    generator = torch.Generator().manual_seed(0)
    for name, tensor in network.state_dict().items():
        if name.endswith("running_mean"):
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
        elif name.endswith("running_var"):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif "norm.weight" in name:
            tensor.copy_(0.8 + 0.4 * torch.rand(tensor.shape, generator=generator))
        elif "norm.bias" in name:
            tensor.copy_(0.1 * torch.randn(tensor.shape, generator=generator))
    return network


def test_shapes_after_each_row_of_table_3():
    network = MTC(ModelConfig(), CLASSES).eval()
    samples = torch.rand(2, 1500)
    z, x = network.block1(samples.reshape(2, 30, 50), samples[:, None])
    assert (z.shape, x.shape) == ((2, 30, 50), (2, 100, 1500))
    z, x = network.block2(z, x)
    assert (z.shape, x.shape) == ((2, 30, 50), (2, 100, 1500))
    z, x = network.block3(z, x)
    assert (z.shape, x.shape) == ((2, 30, 50), (2, 200, 1500))
    logits = network(samples)
    assert {task: values.shape for task, values in logits.items()} == {
        "application": (2, 17),
        "traffic": (2, 12),
        "auxiliary": (2, 6),
    }


def test_parameters_by_block():
    network = MTC(ModelConfig(), CLASSES)

    def count(module):
        return sum(p.numel() for p in module.parameters())

    # Attention: three 50 -> 48 and one 48 -> 50; two layers 50 -> 1024 -> 50; two LayerNorms.
    encoder = 3 * (50 * 48 + 48) + (48 * 50 + 50) + (50 * 1024 + 1024) + (1024 * 50 + 50) + 2 * 2 * 50

    def bottleneck(c_in, inner, outer):
        convolutions = c_in * inner + 3 * inner * inner + inner * outer
        norms = 2 * (inner + inner + outer)
        return convolutions + norms + (c_in * outer + 2 * outer if c_in != outer else 0)

    def fusion(inner):
        down, up = inner * 50 + 50 + 2 * 50, 50 * inner + 2 * inner
        return down + up + 2 * 50  # and the LayerNorm of the sum

    assert count(network.block1) == encoder + bottleneck(1, 50, 100)
    assert count(network.block2) == 5 * encoder + 2 * bottleneck(100, 50, 100) + fusion(50)
    assert count(network.block3) == 6 * encoder + bottleneck(100, 100, 200) + bottleneck(
        200, 100, 200
    ) + fusion(100)
    assert count(network.heads) == (1500 * 17 + 17) + (200 * 12 + 12) + (200 * 6 + 6)
    assert count(network) == 1_607_601


def test_heads_stand_on_their_branches():
    network = MTC(ModelConfig(), CLASSES)
    assert network.on_tokens == {"application"}
    assert network.heads["application"].in_features == 1500
    assert network.heads["traffic"].in_features == 200
    by_tokens = MTC(ModelConfig(cnn_pooling="tokens"), CLASSES)
    assert by_tokens.heads["traffic"].in_features == 30 * 200
    own = build_network(ModelConfig(), {"vendor": ("a", "b"), "kind": ("x", "y", "z")})
    assert own.on_tokens == {"vendor"}


def _literal_encoder(layer: EncoderLayer, z):
    """Eq. 1-3 and Fig. 4a, one sample, one head and one token at a time."""
    attention, out = layer.attention, torch.empty_like(z)
    for i in range(len(z)):
        heads = []
        for h in range(attention.heads):
            part = slice(h * attention.head_width, (h + 1) * attention.head_width)
            q = attention.query.weight[part] @ z[i] + attention.query.bias[part]
            k = torch.stack([attention.key.weight[part] @ t + attention.key.bias[part] for t in z])
            v = torch.stack([attention.value.weight[part] @ t + attention.value.bias[part] for t in z])
            heads.append(torch.softmax(k @ q / attention.head_width**0.5, 0) @ v)
        merged = attention.merge.weight @ torch.cat(heads) + attention.merge.bias
        token = F.layer_norm(z[i] + merged, z[i].shape, *_affine(layer.attention_norm))
        hidden = torch.relu(layer.inner.weight @ token + layer.inner.bias)
        hidden = layer.outer.weight @ hidden + layer.outer.bias
        out[i] = F.layer_norm(token + hidden, token.shape, *_affine(layer.ffn_norm))
    return out


def _affine(norm):
    return norm.weight, norm.bias


def _literal_conv(layer: ConvNorm, x):
    """A convolution position by position, evaluation-mode normalization, ReLU."""
    kernel, norm = layer.weight.shape[2], layer.norm
    half = kernel // 2
    padded = F.pad(x, (0, 0, half, half))
    out = torch.stack(
        [sum(layer.weight[:, :, k] @ padded[p + k] for k in range(kernel)) for p in range(len(x))]
    )
    out = (out - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
    return torch.relu(out) if layer.relu else out


def _literal_bottleneck(block: Bottleneck, x, received=None):
    reduced = _literal_conv(block.reduce, x)
    local = _literal_conv(block.middle, reduced if received is None else reduced + received)
    residual = x if block.shortcut is None else _literal_conv(block.shortcut, x)
    return torch.relu(_literal_conv(block.expand, local) + residual), local


def test_second_block_equals_a_literal_one(ragged):
    """Sec. 3.3.2 to 3.3.4 step by step: layer 2 of Table 3 on a single packet."""
    torch.manual_seed(3)
    network = _settle(MTC(ModelConfig(), CLASSES)).eval()
    block = network.block2
    _, _, samples = ragged([120])
    with torch.no_grad():
        z, x = network.block1(samples.reshape(1, 30, 50), samples[:, None])
        z_out, x_out = block(z, x)

        x1, local = _literal_bottleneck(block.first, x[0].T)
        projected = local @ block.down.project.weight.T + block.down.project.bias
        pooled = projected.reshape(30, 50, 50).mean(1)
        tokens = z[0] + F.layer_norm(pooled, (50,), *_affine(block.down.norm))
        tokens = F.layer_norm(tokens, (50,), *_affine(block.merge_norm))
        for encoder in block.encoders:
            tokens = _literal_encoder(encoder, tokens)
        up = (tokens @ block.up.project.weight.T).repeat_interleave(50, 0)
        norm = block.up.norm
        up = (up - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
        x2, _ = _literal_bottleneck(block.second, x1, up)
    assert torch.allclose(z_out[0], tokens, atol=2e-5)
    assert torch.allclose(x_out[0].T, x2, atol=2e-5)


def test_the_transformer_equals_a_literal_one():
    """Eq. 7 and 8 one number at a time, then Eq. 1-3."""
    torch.manual_seed(0)
    config = ModelConfig(name="transformer", tokens=6, width=10, heads=2, ffn_width=12, encoders=2)
    network = build_network(config, {"kind": ("a", "b")}).eval()
    samples = torch.rand(1, 60)
    tokens = samples.reshape(6, 10).clone()
    for place in range(6):
        for j in range(10):
            angle = place * 10000 ** (-(j - j % 2) / 10)
            tokens[place, j] += math.cos(angle) if j % 2 else math.sin(angle)
    with torch.no_grad():
        for encoder in network.encoders:
            tokens = _literal_encoder(encoder, tokens)
        expected = network.heads["kind"](tokens.flatten())
        assert torch.allclose(network(samples)["kind"][0], expected, atol=1e-5)


def test_the_cnn_equals_a_literal_one():
    """Sec. 4.3.2 position by position: kernel 4, stride 3; kernel 5; pooling 2; dense layers."""
    torch.manual_seed(0)
    config = ModelConfig(name="cnn", tokens=7, width=7, channels=(3, 4), dense_widths=(6, 5))
    network = _settle(build_network(config, {"kind": ("a", "b")})).eval()
    samples = torch.rand(1, 49)

    def normalised(layer, x):
        norm = layer.norm
        x = (x - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
        return torch.relu(x)

    with torch.no_grad():
        first = torch.stack(
            [network.first.weight[:, 0] @ samples[0, 3 * p : 3 * p + 4] for p in range((49 - 4) // 3 + 1)]
        )
        x = normalised(network.first, first)
        second = [sum(network.second.weight[:, :, k] @ x[p + k] for k in range(5)) for p in range(len(x) - 4)]
        x = normalised(network.second, torch.stack(second))
        x = torch.stack([torch.maximum(x[2 * p], x[2 * p + 1]) for p in range(len(x) // 2)]).flatten()
        for layer in (network.flattened, *network.dense):
            x = normalised(layer, layer.weight @ x)
        expected = network.heads["kind"](x)
        assert torch.allclose(network(samples)["kind"][0], expected, atol=1e-5)


@pytest.mark.parametrize("pooling", ["global", "tokens"])
@pytest.mark.parametrize("layout", ["packed", "copied", "dense"])
def test_every_layout_gives_the_logits_of_the_plain_network(ragged, pooling, layout):
    torch.manual_seed(0)
    network = _settle(MTC(dataclasses.replace(NO_DROPOUT, cnn_pooling=pooling), CLASSES)).eval()
    # Every end of a packet within a token, at the front, and in the last three tokens.
    lengths = [0, 1, *range(200, 251), *range(1350, 1501, 7), 1400, 1449, 1450, 1451, 1499, 1500]
    data, offsets, samples = ragged(lengths)
    with torch.inference_mode():
        ours = network(pack(data, offsets, network, layout=layout))
        theirs = network(samples)
    for task in CLASSES:
        assert torch.allclose(ours[task], theirs[task], atol=1e-4)


def test_the_short_form_for_flow_features():
    """n = d = H = 7 (Sec. 4.4.2): 49 features, head width 1."""
    torch.manual_seed(0)
    network = _settle(MTC(SMALL, {"attack": 6, "malicious": 2})).eval()
    assert network.block2.encoders[0].attention.head_width == 1
    values = np.random.default_rng(0).random((5, 49), np.float32)
    with torch.inference_mode():
        ours = network(pack(values.reshape(-1), np.arange(6) * 49, network))
        theirs = network(torch.from_numpy(values))
    for task in ours:
        assert torch.allclose(ours[task], theirs[task], atol=1e-5)


def test_fusion_is_real(ragged):
    """Gradients cross from head to the other branch with fusion, and do not without."""

    def gradients(fusion):
        torch.manual_seed(0)
        network = MTC(dataclasses.replace(NO_DROPOUT, fusion=fusion), CLASSES)
        data, offsets, _ = ragged([100, 300])
        logits = network(pack(data, offsets, network))
        convolution = network.block1.bottleneck.middle.weight
        encoder = network.block2.encoders[0].inner.weight
        to_cnn = torch.autograd.grad(
            logits["application"].square().sum(), convolution, retain_graph=True, allow_unused=True
        )[0]
        to_tokens = torch.autograd.grad(logits["traffic"].square().sum(), encoder, allow_unused=True)[0]
        return to_cnn, to_tokens

    to_cnn, to_tokens = gradients(fusion=True)
    assert to_cnn.abs().max() > 0
    assert to_tokens.abs().max() > 0
    assert gradients(fusion=False) == (None, None)


def test_a_batch_of_32_is_overfitted(ragged):
    torch.manual_seed(0)
    config = ModelConfig(repetitions=(1, 1, 1), ffn_width=256, ffn_dropout=0.0, cnn_dropout=0.0)
    network = MTC(config, CLASSES)
    data, offsets, _ = ragged([60] * 32)
    batch = pack(data, offsets, network)
    labels = {task: torch.arange(32) % size for task, size in CLASSES.items()}
    optimizer = torch.optim.Adam(network.parameters(), 4e-3)
    for _ in range(60):
        logits = network(batch)
        loss = sum(F.cross_entropy(logits[task], labels[task]) for task in CLASSES)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for task in CLASSES:
        assert (logits[task].argmax(1) == labels[task]).all(), task


def test_dropout_keeps_the_stated_share_and_the_mean():
    torch.manual_seed(0)
    mask = keep_mask(torch.empty(1001, 1003), 0.07)
    assert mask.shape == (1001, 1003)
    assert abs(float((mask == 0).float().mean()) - 0.07) < 1e-3
    assert abs(float(mask.mean()) - 1) < 1e-3
