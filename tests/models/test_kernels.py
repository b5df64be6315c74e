"""The CPU kernels of normalization against PyTorch's own batch normalization and autograd."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from mtc.models.packed.layers import _NormaliseRows

EPS = 1e-5


def _inputs(rows=1000, channels=7):
    torch.manual_seed(0)
    x = (3 * torch.randn(rows, channels) + 5).requires_grad_()
    scale, shift = (torch.randn(channels).requires_grad_() for _ in range(2))
    return x, scale, shift, torch.randn(rows, channels)


def _gradients(out, grad, *inputs):
    return torch.autograd.grad(out, inputs, grad)


@pytest.mark.parametrize("relu", [True, False])
def test_weights_count_like_repeated_rows(relu):
    x, scale, shift, grad = _inputs(rows=300)
    repeats = torch.arange(300) % 4
    out, mean, variance = _NormaliseRows.apply(x, repeats / repeats.sum(), scale, shift, EPS, relu, 0.0)
    repeated = x.repeat_interleave(repeats, 0)
    expected = F.batch_norm(repeated, None, None, scale, shift, training=True, eps=EPS)
    expected = torch.relu(expected) if relu else expected
    kept = repeats > 0
    first = (repeats.cumsum(0) - repeats)[kept]
    assert torch.allclose(out[kept], expected[first], atol=1e-4)
    assert torch.allclose(mean, repeated.mean(0), atol=1e-4)
    assert torch.allclose(variance, repeated.var(0, unbiased=False), rtol=1e-4)

    # The gradient of a row is the sum of those of its copies.
    shared = grad * repeats[:, None]
    ours = _gradients(out, shared, x, scale, shift)
    theirs = _gradients(expected, grad.repeat_interleave(repeats, 0), x, scale, shift)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=1e-3)


@pytest.mark.parametrize("relu", [True, False])
def test_dropout_is_the_same_mask_on_the_way_back(relu):
    x, scale, shift, grad = _inputs(rows=5000)
    share = torch.full((5000,), 1 / 5000)
    torch.manual_seed(1)
    out, _, _ = _NormaliseRows.apply(x, share, scale, shift, EPS, relu, 0.3)
    plain, _, _ = _NormaliseRows.apply(x, share, scale, shift, EPS, relu, 0.0)
    mask = torch.where(out == 0, 0.0, 1 / 0.7)
    assert torch.allclose(out, plain * mask, atol=1e-5)
    lively = plain != 0
    assert abs(float((mask[lively] == 0).float().mean()) - 0.3) < 0.01
    ours = _gradients(out, grad, x, scale, shift)
    theirs = _gradients(plain, grad * mask, x, scale, shift)
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, atol=1e-3)


def test_masks_follow_the_seed_and_differ_between_calls():
    x, scale, shift, _ = _inputs()
    share = torch.full((1000,), 1e-3)

    def draw():
        return _NormaliseRows.apply(x, share, scale, shift, EPS, False, 0.5)[0].detach().numpy()

    torch.manual_seed(5)
    first, second = draw(), draw()
    torch.manual_seed(5)
    again = draw()
    assert np.array_equal(first, again)
    assert not np.array_equal(first, second)
