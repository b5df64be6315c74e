"""What eight bits need to know of a network: how large its values become, measured on real samples."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mtc.models.engine.encoder import INNER, OUTER
from mtc.models.engine.forward import EXPAND, MIDDLE, REDUCE, REDUCE2, UP, Setting
from mtc.models.engine.int8 import Setting8
from mtc.models.engine.store import Floats, Source, padded, split
from mtc.models.engine.tiles_int8 import product_addresses
from mtc.models.engine.vectors import LANES
from mtc.models.networks.mtc import MTC
from mtc.models.packed.batch import PackedBatch
from mtc.models.packed.layers import ConvNorm

Ranges = Mapping[str, tuple[float, float]]
"""Layer -> smallest and largest value that it reads."""

_BYTE = 1.0 / 255.0


def measure_ranges(network: MTC, batches: list[PackedBatch]) -> dict[str, tuple[float, float]]:
    """The values that the layers of a network read, on batches in evaluation mode."""
    found: dict[str, tuple[float, float]] = {}

    def watch(name: str) -> Any:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            x: Tensor = inputs[0]
            low, high = found.get(name, (0.0, 0.0))
            found[name] = (min(low, float(x.min())), max(high, float(x.max())))

        return hook

    hooks = [
        module.register_forward_pre_hook(watch(name))
        for name, module in network.named_modules()
        if isinstance(module, ConvNorm) or name.endswith((".inner", ".outer"))
    ]
    with torch.inference_mode():
        for batch in batches:
            network(batch)
    for hook in hooks:
        hook.remove()
    return found


class _Layers:
    """Collects layers in eight bits."""

    def __init__(self, sources: list[Source | None]) -> None:
        self._sources = sources
        self._weights: list[np.ndarray[Any, Any]] = []
        self._numbers: list[Floats] = []
        self._size = self._place = 0
        self.table = np.zeros((len(sources), 7), np.int64)
        self.units = np.zeros((len(sources), 3), np.float32)

    def add(
        self,
        layer: int,
        units: list[float],
        result: float | None,
        *,
        zero: float = 0.0,
        residual: float = 0.0,
    ) -> None:
        """Add a layer.

        Args:
            layer: Its number.
            units: What a byte of each input stands for.
            result: What a byte of the result stands for; None for floats.
            zero: The byte of the input that stands for zero.
            residual: What a byte of the residual stands for.
        """
        source = self._sources[layer]
        assert source is not None
        scaled = [block * unit for block, unit in zip(source.blocks, units, strict=True)]
        most = np.maximum(np.abs(np.concatenate(scaled, 1)).max(1), 1e-30)
        whole = [np.rint(block / most[:, None] * 127) for block in scaled]
        scale = (most / 127).astype(np.float64)
        shift = np.zeros(len(scale)) if source.bias is None else source.bias.astype(np.float64)
        shift = shift - zero * scale * np.concatenate(whole, 1).sum(1)
        unit = 1.0 if result is None else result
        width = padded(len(scale))
        numbers = np.zeros(2 * width + LANES, np.float32)
        numbers[: len(scale)] = scale / unit
        numbers[width : width + len(scale)] = shift / unit + (0.0 if result is None else 0.5)
        numbers[2 * width] = residual / unit
        # Four bytes of a column beside each other, padded with zeros.
        groups = [-(-block.shape[1] // 4) for block in whole]
        columns = np.zeros((sum(groups), width, 4), np.int8)
        place = 0
        for block, count in zip(whole, groups, strict=True):
            filled = np.zeros((width, 4 * count))
            filled[: len(scale), : block.shape[1]] = block
            columns[place : place + count] = filled.reshape(width, count, 4).transpose(1, 0, 2)
            place += count
        weights = np.concatenate([panel.ravel() for panel in split(columns)])
        counts = groups + [0] * (3 - len(groups))
        self.table[layer] = [self._size, self._place, width // LANES, *counts, int(source.relu)]
        self.units[layer] = [units[0], zero, unit]
        self._weights.append(weights)
        self._numbers.append(numbers)
        self._size += len(weights)
        self._place += len(numbers)

    def setting(self) -> Setting8:
        """All layers that were added."""
        return Setting8(
            products=product_addresses(),
            weights=torch.from_numpy(np.concatenate(self._weights)).clone().numpy(),
            numbers=torch.from_numpy(np.concatenate(self._numbers)).clone().numpy(),
            layers=self.table,
            units=self.units,
        )


def quantised(setting: Setting, sources: list[Source | None], ranges: Ranges) -> Setting8:
    """The layers of a network in eight bits.

    Args:
        setting: The network in single precision.
        sources: Its layers by number.
        ranges: See ``measure_ranges``.
    """
    layers = _Layers(sources)
    unit = {name: high / 255.0 for name, (_, high) in ranges.items()}
    _first_bottleneck(layers, setting, 0, "block1.bottleneck", _BYTE, unit["block2.first.reduce"], unit)
    for i in (1, 2):
        name = f"block{i + 1}"
        read = unit[f"{name}.first.reduce"]
        _first_bottleneck(layers, setting, i, f"{name}.first", read, unit[f"{name}.second.reduce"], unit)
        result = unit[f"block{i + 2}.first.reduce"] if i == 1 else None
        _second_bottleneck(layers, setting, i, f"{name}.second", result, unit, ranges)
    names = sorted({name.removesuffix(".inner") for name in ranges if name.endswith(".inner")}, key=_number)
    for name, steps in zip(names, setting.encoders, strict=True):
        signed, zero = _signed(*ranges[f"{name}.inner"])
        layers.add(int(steps[INNER]), [signed], unit[f"{name}.outer"], zero=zero)
        layers.add(int(steps[OUTER]), [unit[f"{name}.outer"]], None)
    return layers.setting()


def _number(name: str) -> tuple[int, int]:
    """Block and place of an encoder, from its name."""
    block, _, place = name.split(".")
    return int(block.removeprefix("block")), int(place)


def _signed(low: float, high: float) -> tuple[float, float]:
    """What a byte stands for, and the byte that stands for zero."""
    unit = (high - low) / 255.0
    return unit, float(round(-low / unit))


def _first_bottleneck(
    layers: _Layers,
    setting: Setting,
    block: int,
    name: str,
    read: float,
    result: float,
    unit: Mapping[str, float],
) -> None:
    reduce, middle, expand = (int(setting.blocks[block, i]) for i in (REDUCE, MIDDLE, EXPAND))
    layers.add(reduce, [read], unit[f"{name}.middle"])
    layers.add(middle, [unit[f"{name}.middle"]] * 3, unit[f"{name}.expand"])
    inputs = [unit[f"{name}.expand"]]
    if f"{name}.shortcut" in unit:
        layers.add(expand, [*inputs, read], result)
    else:
        layers.add(expand, inputs, result, residual=read)


def _second_bottleneck(
    layers: _Layers,
    setting: Setting,
    block: int,
    name: str,
    result: float | None,
    unit: Mapping[str, float],
    ranges: Ranges,
) -> None:
    reduce, middle, expand = (int(setting.blocks[block, REDUCE2 + i]) for i in range(3))
    read = unit[f"{name}.reduce"]
    signed, zero = _signed(*ranges[f"{name}.middle"])
    # Without a fusion nothing is added before the 1x3 convolution, and the first layer ends in bytes.
    layers.add(reduce, [read], None if setting.blocks[block, UP] >= 0 else signed)
    layers.add(middle, [signed] * 3, unit[f"{name}.expand"], zero=zero)
    layers.add(expand, [unit[f"{name}.expand"]], result, residual=read)
