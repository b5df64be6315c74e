"""Which arithmetic the matrix products of a run use."""

from typing import Literal

import torch

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
    if setting == "bf16" or (setting == "auto" and _multiplies_bf16(torch.device(device))):
        return "bf16"
    return "fp32"


def _multiplies_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        return bool(torch.cpu._is_amx_tile_supported())
    return False
