"""MTC against Table 3, against literal re-implementations, and in training."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtc.config import ModelConfig
from mtc.models import MTC, build_network, pack
from mtc.models.networks.encoder import EncoderLayer, embed, keep_mask
from mtc.models.networks.mtc import Bottleneck
from mtc.models.packed.layers import ConvNorm

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


def _pair(reference, config):
    """The network and the dense reference with the same weights."""
    torch.manual_seed(0)
    network = _settle(MTC(config, CLASSES))
    dense = reference.ReferenceMTC(CLASSES, reference.Sizes.of(config), "application")
    dense.load_state_dict(network.state_dict())
    return network, dense


def test_shapes_after_each_row_of_table_3(ragged):
    network = MTC(ModelConfig(), CLASSES).eval()
    data, offsets, _ = ragged([1500, 700])
    batch = pack(data, offsets, network, layout="dense")
    rows = 2 * 1500 + 3
    z, x = embed(batch, 50), batch.values
    assert z.shape == (2 * 30, 50)
    assert x.shape == (rows, 1)
    z, x = network.block1(z, x, batch)
    assert (z.shape, x.shape) == ((60, 50), (rows, 100))
    z, x = network.block2(z, x, batch)
    assert (z.shape, x.shape) == ((60, 50), (rows, 100))
    z, x = network.block3(z, x, batch)
    assert (z.shape, x.shape) == ((60, 50), (rows, 200))
    logits = network.forward_heads((z, x), batch)
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
    half, norm = layer.kernel // 2, layer.norm
    padded = F.pad(x, (0, 0, half, half))
    out = torch.stack(
        [sum(layer.weight[:, :, k] @ padded[p + k] for k in range(layer.kernel)) for p in range(len(x))]
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
    data, offsets, _ = ragged([120])
    with torch.no_grad():
        batch = pack(data, offsets, network, layout="dense")
        z, x = network.block1(embed(batch, 50), batch.values, batch)
        z_out, x_out = block(z, x, batch)

        inside = x[1:-1]
        x1, local = _literal_bottleneck(block.first, inside)
        projected = local @ block.down.project.weight.T + block.down.project.bias
        pooled = projected.reshape(30, 50, 50).mean(1)
        tokens = z + F.layer_norm(pooled, (50,), *_affine(block.down.norm))
        tokens = F.layer_norm(tokens, (50,), *_affine(block.merge_norm))
        for encoder in block.encoders:
            tokens = _literal_encoder(encoder, tokens)
        up = (tokens @ block.up.project.weight.T).repeat_interleave(50, 0)
        norm = block.up.norm
        up = (up - norm.running_mean) / torch.sqrt(norm.running_var + norm.eps) * norm.weight + norm.bias
        x2, _ = _literal_bottleneck(block.second, x1, up)
    assert torch.allclose(z_out, tokens, atol=2e-5)
    assert torch.allclose(x_out[1:-1], x2, atol=2e-5)


@pytest.mark.parametrize("pooling", ["global", "tokens"])
@pytest.mark.parametrize("layout", ["packed", "copied", "dense"])
def test_evaluation_equals_the_dense_reference(reference, ragged, pooling, layout):
    network, dense = _pair(reference, dataclasses.replace(NO_DROPOUT, cnn_pooling=pooling))
    # Every end of a packet within a token, at the front, and in the last three tokens.
    lengths = [0, 1, *range(200, 251), *range(1350, 1501, 7), 1400, 1449, 1450, 1451, 1499, 1500]
    data, offsets, samples = ragged(lengths)
    network.eval()
    dense.eval()
    with torch.inference_mode():
        ours = network(pack(data, offsets, network, layout=layout))
        theirs = dense(samples)
    for task in CLASSES:
        assert torch.allclose(ours[task], theirs[task], atol=1e-4)


def test_training_equals_the_dense_reference_but_for_dropout(reference, ragged):
    network, dense = _pair(reference, NO_DROPOUT)
    network, dense = network.double(), dense.double()
    data, offsets, samples = ragged([40, 77, 203, 500, 1449, 1500])
    batch = pack(data, offsets, network)
    batch = dataclasses.replace(
        batch,
        **{
            name: getattr(batch, name).double()
            for name in ("values", "row_weight", "row_share", "entry_multiplicity", "slot_bias")
        },
    )
    ours, theirs = network(batch), dense(samples.double())
    weights = {t: torch.linspace(-1, 1, v.numel()).reshape(v.shape) for t, v in theirs.items()}
    sum((ours[t] * weights[t]).sum() for t in CLASSES).backward()
    sum((theirs[t] * weights[t]).sum() for t in CLASSES).backward()
    for task in CLASSES:
        assert torch.allclose(ours[task].double(), theirs[task], atol=1e-4)
    difference = torch.stack(
        [(p.grad - q.grad).norm() for p, q in zip(network.parameters(), dense.parameters(), strict=True)]
    ).norm()
    whole = torch.stack([q.grad.norm() for q in dense.parameters()]).norm()
    assert difference / whole < 1e-3
    for (name, ours_b), (_, theirs_b) in zip(network.named_buffers(), dense.named_buffers(), strict=True):
        assert torch.allclose(ours_b.double(), theirs_b.double(), atol=1e-4), name


def test_the_short_form_for_flow_features(reference):
    """n = d = H = 7 (Sec. 4.4.2): 49 features, head width 1."""
    torch.manual_seed(0)
    network = _settle(MTC(SMALL, {"attack": 6, "malicious": 2})).eval()
    sizes = reference.Sizes(7, 7, 7, 1024, (1, 5, 6), 0.1, 0.07)
    dense = reference.ReferenceMTC({"attack": 6, "malicious": 2}, sizes, "attack").eval()
    dense.load_state_dict(network.state_dict())
    assert network.block2.encoders[0].attention.head_width == 1
    values = np.random.default_rng(0).random((5, 49), np.float32)
    with torch.inference_mode():
        ours = network(pack(values.reshape(-1), np.arange(6) * 49, network))
        theirs = dense(torch.from_numpy(values))
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
