"""Every setting of a run: frozen, typed, checked at construction, unknown keys refused.

A recipe is a TOML file with the sections below; ``seed`` stands at its top. The defaults are the
paper's recipe for ISCX (Sec. 3.3, 4.1.3); docs/paper.md says where they are readings of ours.
"""

import dataclasses
import json
import tomllib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Self

from mtc.errors import ConfigError

Precision = Literal["auto", "exact", "bf16"]
"""Arithmetic of matrix products in inference, see ``mtc.models.predict_logits``."""


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ConfigError(message)


@dataclass(frozen=True, slots=True)
class DataConfig:
    """Data of a run: split, mask, tasks and balance."""

    split: str = "flow"
    """Split column of the dataset: ``flow``, ``packet``, or another that it holds."""
    mask: Literal["paper", "strict", "nameless"] = "paper"
    """What the model never sees: ``paper`` (addresses), ``strict`` (also ports, checksums, ...) or
    ``nameless`` (also all payload but its first three bytes, so no name)."""
    tasks: tuple[str, ...] = ()
    """Tasks that are trained, in the order of the dataset; all that it has where none is named."""
    balance: Literal["none", "table2"] = "none"
    """Whether the classes of the training part are balanced: ``none``, or, for flow features, ``table2``
    (fewer benign rows, synthesised rows of rare attacks, in the proportions of Table 2)."""

    copies: int = 0
    """Changed copies of each flow sequence of the training part (``mtc.flows.augment``)."""

    hide: tuple[str, ...] = ()
    """Flow features that the model never sees, such as ``Destination Port``."""

    def __post_init__(self) -> None:
        _require(0 <= self.copies <= 100, "data.copies must lie between 0 and 100")
        _require(self.balance in ("none", "table2"), "data.balance must be none or table2")
        _require(
            self.mask in ("paper", "strict", "nameless"),
            f"data.mask must be paper, strict or nameless, not {self.mask!r}",
        )
        _require(len(set(self.tasks)) == len(self.tasks), "data.tasks names a task twice")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The network. Source: Sec. 3.3, Table 3; Sec. 4.3 for the comparison models."""

    name: Literal[
        "mtc",
        "transformer",
        "cnn",
        "fields",
        "gradient-boosting",
        "extra-trees",
        "nearest-neighbour",
        "majority",
    ] = "mtc"
    """Which model of ``mtc.models``: ``mtc``, the multi-task ``transformer`` or ``cnn`` (1D-CNN) that it is
    compared with, ``fields``, which is not of the paper, or a shallow one, which all of them must beat. A
    model does not read the settings of the others."""
    tokens: int = 30
    """n, tokens of the Transformer; n x d is the length of a sample, for the 1D-CNN too."""
    width: int = 50
    """d, width of a token."""
    heads: int = 6
    """H, attention heads, each floor(d / H) wide."""
    ffn_width: int = 1024
    """Inner width of the feed-forward layers."""
    repetitions: tuple[int, ...] = (1, 5, 6)
    """m, encoder layers of MTC's Transformer blocks 1, 2 and 3."""
    encoders: int = 7
    """Encoder layers of the multi-task Transformer."""
    ffn_dropout: float = 0.1
    """Dropout after each of the two feed-forward layers."""
    cnn_dropout: float = 0.07
    """Dropout after each convolution of MTC's 1D-CNN branch."""
    channels: tuple[int, ...] = (200, 200)
    """Channels of the two convolutions of the multi-task 1D-CNN."""
    dense_widths: tuple[int, ...] = (200, 100, 50)
    """Widths of the dense layers of the multi-task 1D-CNN and of ``fields``; heads read the last."""
    dense_dropout: float = 0.05
    """Dropout after each dense layer of the multi-task 1D-CNN and of ``fields``."""
    encoding_width: int = 16
    """Width of the encoding of each byte and each number in ``fields``."""
    members: int = 1
    """Networks of ``fields`` that are trained side by side and give their mean verdict."""
    fusion: bool = True
    """Whether the branches exchange features (off only to show what the fusion is worth)."""
    cnn_pooling: Literal["global", "tokens"] = "global"
    """Pooling of the 1D-CNN branch before the heads: global average, or average to n tokens, flattened."""
    transformer_tasks: tuple[str, ...] = ("application", "attack")
    """Tasks that MTC reads from its Transformer branch; all others are read from its 1D-CNN branch. If
    none of the dataset's tasks is named here, its first task is."""
    shallow_inputs: Literal["bytes", "fields", "flows"] = "bytes"
    """Inputs of a shallow model: leading bytes of packets, their header fields as numbers, or the numbers
    of flow sequences."""
    leading_bytes: int = 400
    """Leading bytes that a shallow model or ``fields`` reads; 0 for ``fields`` on flow features."""
    shallow_rows: int = 100_000
    """Most training samples of a shallow model, drawn at random; 0 is all."""
    boosting_rounds: int = 300
    """Most rounds of gradient boosting; it ends when the validation part no longer improves."""
    forest_trees: int = 100
    """Extra trees of a task."""
    forest_leaf: int = 1
    """Fewest training samples in a leaf of an extra tree: more of them carry better to other networks."""

    def __post_init__(self) -> None:
        _require(
            min(self.tokens, self.width, self.heads, self.ffn_width) >= 1, "model sizes must be positive"
        )
        _require(self.heads <= self.width, "model.heads must not exceed model.width")
        _require(
            len(self.repetitions) == 3 and min(self.repetitions) >= 0,
            "model.repetitions must be three numbers, one a block",
        )
        _require(self.encoders >= 1, "model.encoders must be at least 1")
        _require(
            len(self.channels) == 2 and min(self.channels) >= 1,
            "model.channels must be two positive numbers, one a convolution",
        )
        _require(
            len(self.dense_widths) >= 1 and min(self.dense_widths) >= 1,
            "model.dense_widths must be positive numbers, one a layer",
        )
        for name in ("ffn_dropout", "cnn_dropout", "dense_dropout"):
            _require(0 <= getattr(self, name) < 1, f"model.{name} must lie in [0, 1)")
        _require(self.cnn_pooling in ("global", "tokens"), "model.cnn_pooling must be global or tokens")
        _require(
            self.shallow_inputs in ("bytes", "fields", "flows"),
            "model.shallow_inputs must be bytes, fields or flows",
        )
        _require(
            (self.name == "fields" or self.leading_bytes >= 1) and 0 <= self.leading_bytes <= 400,
            "model.leading_bytes must lie between 1 and 400, or be 0 for fields on flow features",
        )
        _require(
            min(self.boosting_rounds, self.forest_trees, self.forest_leaf, self.encoding_width, self.members)
            >= 1,
            "model.boosting_rounds, forest_trees, forest_leaf, encoding_width and members must be positive",
        )
        _require(self.shallow_rows >= 0, "model.shallow_rows must not be negative")

    @property
    def reads_flows(self) -> bool:
        """Whether a sample is the sequence of a flow (``mtc.flows.sequences``) and not a packet."""
        shallow = ("gradient-boosting", "extra-trees", "nearest-neighbour", "majority")
        return self.name in shallow and self.shallow_inputs == "flows"

    @property
    def length(self) -> int:
        """Length of a sample, n x d."""
        return self.tokens * self.width

    def tasks_on_tokens(self, tasks: Iterable[str]) -> frozenset[str]:
        """Of ``tasks``, those that MTC reads from its Transformer branch."""
        known = list(tasks)
        return frozenset([task for task in known if task in self.transformer_tasks] or known[:1])


@dataclass(frozen=True, slots=True)
class LossConfig:
    """Weights of the tasks' cross-entropies. Source: Sec. 3.3.5, Table 7."""

    weights: Mapping[str, float] = field(
        default_factory=lambda: {"application": 6.0, "traffic": 2.0, "auxiliary": 1.0}
    )
    """Task -> weight; a task of the dataset that is not named here weighs 1."""
    smoothing: float = 0.0
    """Label smoothing: the share of each label that is spread over all classes. The paper has none."""
    balance: float = 0.0
    """How much more a sample of a rare class weighs: the ratio of the mean size of a class to that of its
    own, to this power. 0 is not at all, as in the paper; at 1 every class weighs the same."""

    def __post_init__(self) -> None:
        _require(0 <= self.smoothing < 1, "loss.smoothing must lie in [0, 1)")
        _require(0 <= self.balance <= 1, "loss.balance must lie in [0, 1]")
        _require(all(w >= 0 for w in self.weights.values()), "loss.weights must not be negative")


@dataclass(frozen=True, slots=True)
class TrainConfig:
    """The training recipe. Source: Sec. 4.1.3."""

    epochs: int = 100
    """Most epochs."""
    batch_size: int = 128
    """Packets a step."""
    learning_rate: float = 1e-3
    """Initial learning rate of Adam."""
    weight_decay: float = 1e-4
    """L2 penalty of Adam."""
    schedule: Literal["plateau", "budget"] = "plateau"
    """How the learning rate falls: ``plateau``, the paper's, or ``budget``, in a straight line to 0 at
    the end of ``epochs`` or ``max_minutes``, whichever comes first."""
    plateau_factor: float = 0.1
    """Factor of ReduceLROnPlateau, on the validation loss."""
    plateau_patience: int = 10
    """Epochs without improvement before the learning rate falls."""
    stopping_patience: int = 20
    """Epochs without improvement before training ends; 0 turns early stopping off."""
    freeze: tuple[str, ...] = ()
    """Layers that stay as they are, such as ``block1``: for runs that start from given weights."""
    pretrain_epochs: int = 0
    """Epochs of pre-training without labels, of the network ``fields`` alone: it guesses hidden bytes."""
    averaging: float = 0.0
    """Decay a step of a moving average of the weights, such as 0.99, which is then what is validated and
    kept; 0 is none. The paper has none."""
    max_minutes: float = 0.0
    """Wall time after which the run ends at its best checkpoint; 0 is no limit. Pre-training
    counts, but is not cut short."""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """Arithmetic of matrix products; ``auto`` takes bf16 where the hardware multiplies it natively."""
    devices: int = 1
    """GPUs, or where there is none processes on the CPU, that a machine trains on. They share a batch."""
    nodes: int = 1
    """Machines that train together."""
    strategy: Literal["auto", "ddp"] = "auto"
    """How devices work together: ``auto`` is ``ddp`` where there are several."""
    layout: Literal["packed", "copied", "dense"] = "copied"
    """How much of equal padding is computed: one, a few with dropout masks of their own, or all of it by the
    plain network (docs/engine.md)."""

    def __post_init__(self) -> None:
        _require(self.epochs >= 1, "train.epochs must be at least 1")
        _require(min(self.devices, self.nodes) >= 1, "train.devices and train.nodes must be at least 1")
        _require(
            self.batch_size >= 2 * self.devices * self.nodes,
            "train.batch_size must be at least 2 a device (batch normalization)",
        )
        _require(self.strategy in ("auto", "ddp"), "train.strategy must be auto or ddp")
        _require(self.learning_rate > 0, "train.learning_rate must be positive")
        _require(self.weight_decay >= 0, "train.weight_decay must not be negative")
        _require(self.schedule in ("plateau", "budget"), "train.schedule must be plateau or budget")
        _require(0 < self.plateau_factor < 1, "train.plateau_factor must lie in (0, 1)")
        _require(min(self.plateau_patience, self.stopping_patience) >= 0, "patience must not be negative")
        _require(self.pretrain_epochs >= 0, "train.pretrain_epochs must not be negative")
        _require(0 <= self.averaging < 1, "train.averaging must lie in [0, 1)")
        _require(self.max_minutes >= 0, "train.max_minutes must not be negative")
        _require(self.precision in ("auto", "fp32", "bf16"), "train.precision must be auto, fp32 or bf16")
        _require(self.layout in ("packed", "copied", "dense"), "train.layout must be packed, copied or dense")


@dataclass(frozen=True, slots=True)
class RunConfig:
    """All settings of one run."""

    seed: int = 1
    """Seed of everything random in the run."""
    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build from nested plain values, as read from TOML or JSON.

        Raises:
            ConfigError: An unknown key, or a value of the wrong type or range.
        """
        built: Self = build_settings(cls, values)
        return built

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, fit for JSON, that ``from_dict`` takes back."""
        plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(self)))
        return plain


def load_recipe(recipe: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a recipe by path, or by the name of one shipped inside the package.

    Args:
        recipe: A TOML file, or a name such as ``iscx-mtc``.
        overrides: ``key=value`` with dotted keys, values in TOML syntax (bare words are strings).

    Raises:
        ConfigError: No such recipe, no valid TOML, an unknown key or a wrong value.
    """
    values = _read_toml(recipe)
    for override in overrides:
        _apply_override(values, override)
    return RunConfig.from_dict(values)


def recipe_names() -> list[str]:
    """Names of the recipes shipped inside the package, sorted."""
    folder = resources.files("mtc") / "recipes"
    return sorted(
        entry.name.removesuffix(".toml") for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def _read_toml(recipe: str | Path) -> dict[str, Any]:
    path = Path(recipe)
    try:
        if path.is_file():
            text = path.read_text(encoding="utf-8")
        elif str(recipe) in recipe_names():
            text = (resources.files("mtc") / "recipes" / f"{recipe}.toml").read_text(encoding="utf-8")
        else:
            raise ConfigError(
                f"no recipe {str(recipe)!r}: not a file, and shipped are {', '.join(recipe_names())}"
            )
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError, RecursionError) as error:
        raise ConfigError(f"{recipe}: not a readable TOML recipe ({error})") from error


def _apply_override(values: dict[str, Any], override: str) -> None:
    key, separator, text = override.partition("=")
    _require(bool(separator) and bool(key), f"--set takes key=value, not {override!r}")
    try:
        value: Any = tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        value = text
    *parents, last = key.strip().split(".")
    section = values
    for parent in parents:
        section = section.setdefault(parent, {})
        _require(isinstance(section, dict), f"--set {key}: {parent} is not a section")
    section[last] = value


def build_settings(cls: type[Any], values: Mapping[str, Any], prefix: str = "") -> Any:
    """A frozen dataclass of settings from parsed TOML, with every key and type checked.

    Args:
        cls: The dataclass; its fields may be dataclasses, tuples, mappings and literals.
        values: What TOML holds.
        prefix: What stands before the keys in messages.

    Raises:
        ConfigError: A key is unknown or missing, or a value has the wrong type.
    """
    _require(isinstance(values, Mapping), f"{prefix or 'recipe'} must be a section")
    known = {f.name for f in dataclasses.fields(cls)}
    needed = [
        f.name
        for f in dataclasses.fields(cls)
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    ]
    for key in values:
        _require(key in known, f"unknown setting {prefix}{key}; known are {', '.join(sorted(known))}")
    for key in needed:
        _require(key in values, f"setting {prefix}{key} is missing")
    hints = typing.get_type_hints(cls)
    return cls(**{key: _convert(hints[key], value, prefix + key) for key, value in values.items()})


def _convert(hint: Any, value: Any, key: str) -> Any:
    if dataclasses.is_dataclass(hint):
        return build_settings(typing.cast("type[Any]", hint), value, f"{key}.")
    origin = typing.get_origin(hint)
    if origin is Literal:
        choices = typing.get_args(hint)
        _require(value in choices, f"{key} must be one of {', '.join(map(str, choices))}, not {value!r}")
        return value
    if origin is tuple:
        _require(isinstance(value, list | tuple), f"{key} must be a list, not {value!r}")
        return tuple(_convert(typing.get_args(hint)[0], item, key) for item in value)
    if origin is not None and origin is not types.UnionType:
        _require(isinstance(value, Mapping), f"{key} must be a section, not {value!r}")
        return {str(k): _convert(typing.get_args(hint)[1], v, f"{key}.{k}") for k, v in value.items()}
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    _require(type(value) is hint, f"{key} must be {hint.__name__}, not {value!r}")
    return value
