"""Write docs/models.md: shapes, parameters and multiply-adds of every model, layer by layer.

    python scripts/models_page.py

Shapes and dense multiply-adds are counted in the plain transcriptions (benchmarks/reference.py), those of a
short packet in the networks themselves.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mtc.config import load_recipe
from mtc.models import build_network, pack
from mtc.tasks import CICIDS2017, ISCX

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))
from reference import Sizes, plain_network  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
INTRODUCTION = (Path(__file__).parent / "models_page.md").read_text(encoding="utf-8").rstrip() + "\n"
SHORT = 203  # bytes of a packet, the mean of iscx-mini's samples
MODELS = {
    "iscx-mtc": "MTC on ISCX",
    "iscx-mtc-2task": "MTC-2task on ISCX",
    "iscx-transformer": "Multi-task Transformer on ISCX",
    "iscx-cnn": "Multi-task 1D-CNN on ISCX",
    "cicids2017-mtc": "MTC on CICIDS2017",
    "cicids2017-transformer": "Multi-task Transformer on CICIDS2017",
    "cicids2017-cnn": "Multi-task 1D-CNN on CICIDS2017",
}


@dataclass(frozen=True)
class Layer:
    """A row: a convolution, a dense layer, a fusion, a head, or a stack of encoders."""

    name: str
    shape: str
    parameters: int
    dense: int
    short: int


@dataclass(frozen=True)
class Model:
    title: str
    recipe: str
    layers: list[Layer]
    packets: bool

    def total(self, what: str) -> int:
        return sum(getattr(layer, what) for layer in self.layers)


def page() -> str:
    """The text of the page."""
    models = [measured(recipe, title) for recipe, title in MODELS.items()]
    lines = [INTRODUCTION]
    lines += row("model", "parameters", "multiply-adds", f"of {SHORT} bytes", rule=1)
    for model in models:
        lines += row(model.title, *totals(model))
    for model in models:
        lines += ["", f"## {model.title}", "", f"Recipe `{model.recipe}`.", ""]
        lines += row("layer", "output", "parameters", "multiply-adds", f"of {SHORT} bytes", rule=2)
        for layer in model.layers:
            short = number(layer.short) if model.packets else ""
            lines += row(layer.name, layer.shape, number(layer.parameters), number(layer.dense), short)
        lines += row("all", "", *totals(model))
    return "\n".join(lines) + "\n"


def totals(model: Model) -> list[str]:
    short = number(model.total("short")) if model.packets else ""
    return [number(model.total("parameters")), number(model.total("dense")), short]


def row(*cells: str, rule: int = 0) -> Iterator[str]:
    yield "| " + " | ".join(cells) + " |"
    if rule:
        yield "|" + "---|" * rule + "---:|" * (len(cells) - rule)


def number(value: int) -> str:
    return f"{value:,}" if value else ""


def measured(recipe: str, title: str) -> Model:
    config = load_recipe(recipe)
    packets = recipe.startswith("iscx")
    known = ISCX if packets else CICIDS2017
    tasks = {task: known[task] for task in config.data.tasks or known}
    torch.manual_seed(0)
    network = build_network(config.model, tasks)
    sizes = Sizes(config.model.tokens, config.model.width, config.model.heads)
    plain = plain_network(config.model.name, {task: len(tasks[task]) for task in tasks}, sizes)
    shapes, dense = run_plain(plain, config.model.length)
    short = run_ours(network)
    parameters = {name: sum(p.numel() for p in module.parameters()) for name, module in plain.named_modules()}
    layers = [
        Layer(
            name + (f" x {len(members)}" if len(members) > 1 or name.endswith("encoders") else ""),
            shapes[members[-1]],
            *(sum(values.get(member, 0) for member in members) for values in (parameters, dense, short)),
        )
        for name, members in rows_of(plain).items()
    ]
    # Layers that stand between the rows: the norms of the sums.
    rest = sum(p.numel() for p in plain.parameters()) - sum(layer.parameters for layer in layers)
    if rest:
        layers.append(Layer("layer normalization of the sums", "", rest, 0, 0))
    return Model(title, recipe, layers, packets)


def rows_of(plain: nn.Module) -> dict[str, list[str]]:
    """Name of a row -> the modules in it."""
    kinds = {"ConvNorm", "PlainConv", "PlainDense", "Down", "Up", "Encoder"}
    rows: dict[str, list[str]] = {}
    for name, module in plain.named_modules():
        if type(module).__name__ in kinds or name.startswith("heads."):
            row_name = name.rpartition(".")[0] if type(module).__name__ == "Encoder" else name
            rows.setdefault(row_name, []).append(name)
    return rows


def run_plain(plain: nn.Module, length: int) -> tuple[dict[str, str], dict[str, int]]:
    """Module -> shape of its output, and its multiply-adds, for one sample."""
    shapes: dict[str, str] = {}

    def note(name: str, module: nn.Module) -> None:
        across = isinstance(module, nn.Conv1d) or type(module).__name__ == "Up"

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shape = output[0].T.shape if across else output[0].shape
                shapes[name] = " x ".join(map(str, shape))

        module.register_forward_hook(hook)

    for name, module in plain.named_modules():
        note(name, module)
    return shapes, counted(plain.eval(), torch.rand(1, length))


def run_ours(network: nn.Module) -> dict[str, int]:
    """Module -> multiply-adds of one packet of ``SHORT`` bytes, or of flow features."""
    length = min(SHORT, network.config.length)
    data = np.ones(2 * length, np.uint8 if length == SHORT else np.float32)
    batch = pack(data, np.arange(3) * length, network)
    # In training mode, where attention is no kernel of the library's, which would not be counted.
    return {name: value // 2 for name, value in counted(network.train(), batch).items()}


def counted(network: nn.Module, batch: Any) -> dict[str, int]:
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(batch)
    start = type(network).__name__ + "."
    return {
        name.removeprefix(start): sum(counts.values()) // 2
        for name, counts in counter.get_flop_counts().items()
    }


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
