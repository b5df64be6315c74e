import numpy as np
import pytest
import torch

from mtc.datasets import QuantileScaler
from mtc.inference.export.inputs import MaskedSamples, SampleFields, ScaledFeatures, ScaledSamples
from mtc.models.fields.inputs import pack_fields
from mtc.packets import mask_samples


@pytest.fixture(scope="module")
def packets() -> np.ndarray:
    """uint8 (120, 1500): both IP versions, both transports and what is neither, of many lengths."""
    rng = np.random.default_rng(0)
    samples = rng.integers(0, 256, (120, 1500), dtype=np.uint8)
    samples[:, 0] = rng.choice([0x45, 0x60, 0x6F, 0x4F, 0x00, 0xFF], 120)
    samples[:, 6], samples[:, 9] = rng.choice([6, 17, 1], 120), rng.choice([6, 17, 1], 120)
    for row, length in enumerate(rng.integers(0, 600, 120)):
        samples[row, length:] = 0
    samples[0] = 0
    return samples


@pytest.mark.parametrize("mask", ["paper", "strict"])
def test_mask_is_that_of_the_package(packets: np.ndarray, mask: str) -> None:
    expected = mask_samples(packets, mask)  # type: ignore[arg-type]
    assert (expected != packets).any()
    samples = torch.from_numpy(packets)
    np.testing.assert_array_equal(MaskedSamples(mask)(samples).numpy(), expected)  # type: ignore[arg-type]
    scaled = ScaledSamples(mask)(samples).numpy()  # type: ignore[arg-type]
    np.testing.assert_array_equal(scaled, expected / np.float32(255))


@pytest.mark.parametrize(("mask", "leading"), [("paper", 400), ("strict", 100)])
def test_fields_are_those_of_the_package(packets: np.ndarray, mask: str, leading: int) -> None:
    masked = mask_samples(packets, mask)  # type: ignore[arg-type]
    expected = pack_fields(masked.reshape(-1), np.arange(len(masked) + 1) * 1500, leading)
    found = SampleFields(mask, leading)(torch.from_numpy(packets))  # type: ignore[arg-type]
    for name in ("places", "present"):
        np.testing.assert_array_equal(getattr(found, name).numpy(), getattr(expected, name).numpy(), name)
    torch.testing.assert_close(found.numbers, expected.numbers, atol=1e-7, rtol=1e-6)
    assert len(np.unique(expected.present.numpy(), axis=0)) > 4


@pytest.mark.parametrize("levels", [1, 2, 7, 16, 1000])
def test_features_are_scaled_as_the_package_does(levels: int) -> None:
    rng = np.random.default_rng(levels)
    chosen = np.array([5, 0, 77, 12, 3])
    rows = rng.lognormal(8, 4, (levels, 5)).astype(np.float32)
    rows[:, 1] = 3.0  # one value alone
    rows[:, 2] = rng.integers(0, 4, levels)  # few values, each at many ranks
    scaler = QuantileScaler.fit(rows)
    values = rng.lognormal(8, 5, (300, 78)).astype(np.float32)
    values[:100, 77] = rng.integers(-1, 5, 100)
    values[:50, 0] = 3.0
    values[100:, chosen] = scaler.quantiles[rng.integers(0, len(scaler.quantiles), 200)]
    values[:8, 5] = [np.nan, np.inf, -np.inf, 0, -1, 1e38, -1e38, 1e-30]
    expected = scaler.transform(values[:, chosen])
    found = ScaledFeatures(scaler, chosen)(torch.from_numpy(values)).numpy()
    np.testing.assert_array_equal(found, expected)
    assert expected.min() == 0
