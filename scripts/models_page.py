"""Write docs/models.md: shapes, parameters and multiply-adds of every model, layer by layer.

    python scripts/models_page.py

Shapes and multiply-adds are counted in the plain networks, those of a short packet in their packed forms.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mtc.config import load_recipe
from mtc.models import EncoderLayer, Network, build_network, pack
from mtc.models.accelerate import packed_form
from mtc.models.networks.cnn import Convolution, Dense
from mtc.models.networks.mtc import CnnToTokens, ConvNorm, TokensToCnn
from mtc.tasks import CICIDS2017, ISCX

ROOT = Path(__file__).resolve().parents[1]
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


@dataclass(frozen=True)
class Model:
    title: str
    recipe: str
    layers: list[Layer]
    short: int
    """Multiply-adds of a packet of ``SHORT`` bytes; 0 where flow features are read."""

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
        lines += row("layer", "output", "parameters", "multiply-adds", rule=2)
        for layer in model.layers:
            lines += row(layer.name, layer.shape, number(layer.parameters), number(layer.dense))
        lines += row("all", "", *totals(model)[:2])
    return "\n".join(lines) + "\n"


def totals(model: Model) -> list[str]:
    return [number(model.total("parameters")), number(model.total("dense")), number(model.short)]


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
    shapes, dense = run_plain(network)
    parameters = {
        name: sum(p.numel() for p in module.parameters()) for name, module in network.named_modules()
    }
    layers = [
        Layer(
            name + (f" x {len(members)}" if len(members) > 1 or name.endswith("encoders") else ""),
            shapes[members[-1]],
            *(sum(values.get(member, 0) for member in members) for values in (parameters, dense)),
        )
        for name, members in rows_of(network).items()
    ]
    # Layers that stand between the rows: the norms of the sums.
    rest = sum(p.numel() for p in network.parameters()) - sum(layer.parameters for layer in layers)
    if rest:
        layers.append(Layer("layer normalization of the sums", "", rest, 0))
    return Model(title, recipe, layers, run_packed(network) if packets else 0)


def rows_of(plain: nn.Module) -> dict[str, list[str]]:
    """Name of a row -> the modules in it."""
    kinds = (ConvNorm, Convolution, Dense, CnnToTokens, TokensToCnn, EncoderLayer)
    rows: dict[str, list[str]] = {}
    for name, module in plain.named_modules():
        if isinstance(module, kinds) or (name.startswith("heads.") and isinstance(module, nn.Linear)):
            row_name = name.rpartition(".")[0] if isinstance(module, EncoderLayer) else name
            rows.setdefault(row_name, []).append(name)
    return rows


def run_plain(network: Network) -> tuple[dict[str, str], dict[str, int]]:
    """Module -> shape of its output, and its multiply-adds, for one sample."""
    shapes: dict[str, str] = {}

    def note(name: str, module: nn.Module) -> Any:
        across = isinstance(module, (nn.Conv1d, TokensToCnn))

        def hook(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                shape = output[0].T.shape if across else output[0].shape
                shapes[name] = " x ".join(map(str, shape))

        return module.register_forward_hook(hook)

    hooks = [note(name, module) for name, module in network.named_modules()]
    found = counted(network.eval(), torch.rand(1, network.config.length))
    for hook in hooks:
        hook.remove()
    return shapes, found


def run_packed(network: Network) -> int:
    """Multiply-adds of one packet of ``SHORT`` bytes."""
    batch = pack(np.ones(2 * SHORT, np.uint8), np.arange(3) * SHORT, network)
    form = packed_form(network.train())
    assert form is not None
    # In training mode, where attention is no kernel of the library's, which would not be counted.
    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        form.logits(batch)
    return int(counter.get_total_flops()) // 4


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
