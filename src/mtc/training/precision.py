"""Which arithmetic the matrix products of a run use."""

from typing import Literal

import torch

from mtc.models.predict import native_bf16

Precision = Literal["fp32", "bf16"]


def resolve_precision(setting: str, device: torch.device | str = "cpu") -> Precision:
    """Settle ``train.precision`` for a device.

    Args:
        setting: ``auto``, ``fp32`` or ``bf16``. ``auto`` is bf16 where the device multiplies it
            natively (AMX on a CPU, tensor cores on a GPU): elsewhere it is emulated, and slower.
        device: What the run computes on.

    Returns:
        ``fp32`` or ``bf16``.
    """
    if setting == "bf16" or (setting == "auto" and native_bf16(device)):
        return "bf16"
    return "fp32"
