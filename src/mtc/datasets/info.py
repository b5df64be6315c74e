"""``dataset.json``: what a dataset is, where it comes from, and what was done on the way."""

import dataclasses
import json
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from mtc.datasets.flow_features.selection import FeatureSelection
from mtc.datasets.splits.leakage import Leakage
from mtc.errors import DatasetError


@dataclass(frozen=True, slots=True)
class ClassRows:
    """Rows of one attack class after each step, beside those of the paper's Table 2."""

    read: int
    finite: int
    """With a finite value in every feature."""
    distinct: int
    """Of these, different in a feature or in the label of the download."""
    single: int
    """Of these, that occur exactly once: what Table 2's imbalanced counts are, by the code of the paper's
    reference [25], which leaves out every copy of a repeated row."""
    kept: int
    """Rows of the dataset that were read, not made."""
    table2_imbalanced: int | None
    table2_balanced: int | None
    balanced: int
    """Rows in the split ``paper``: the target of the balance."""
    synthesised: int
    """Of these, made by SMOTE."""
    synthesised_test: int
    """Of these, in the test part of the split ``paper``."""


@dataclass(frozen=True, slots=True)
class Repeats:
    """Rows that repeat others. What a model reads are the selected features, rounded to float32."""

    repeated_rows: int
    """Rows read that equal an earlier one in all features and in the label."""
    repeated_inputs: int
    """Rows of the dataset whose selected features equal those of an earlier one."""
    inputs_under_different_labels: int
    """Different inputs that occur under more than one attack class."""


@dataclass(frozen=True, slots=True)
class FeatureInfo:
    """Features, labels and the balance of a dataset of flow features."""

    names: tuple[str, ...]
    """The features in the columns of the dataset, in their order."""
    selected: tuple[str, ...]
    """Those that a model reads."""
    selection: FeatureSelection
    labels: dict[str, int]
    """Label of the download -> rows read."""
    unknown_labels: dict[str, int]
    """Label that no class is known for -> rows read; they are left out."""
    classes: dict[str, ClassRows]
    """Attack class -> rows after each step, those left out of the dataset's tasks included."""
    repeats: Repeats
    synthesised: int
    """Rows that SMOTE made for the split ``paper``; marked, and in no other split."""
    balanced_splits: tuple[str, ...]
    """Splits whose rows were balanced before they were split."""
    complete: bool
    """Whether the rows read of each label are those of the original download."""
    convention: str = "cicids2017"
    """How the features were computed, see ``mtc.flows.features``."""


FORMAT_VERSION = 1
"""Version of the folder's layout that this package writes, and the newest that it reads."""

INFO_FILE = "dataset.json"


@dataclass(frozen=True, slots=True)
class FileInfo:
    """A file, by content."""

    file: str
    """Name relative to the source or to the dataset; ``a.zip/b.pcap`` for a member."""
    bytes: int
    sha256: str
    """Empty where the file could not be read."""


@dataclass(frozen=True, slots=True)
class RuleInfo:
    """Packets of a capture that have labels of their own."""

    filter: dict[str, str]
    """What chooses them, as it was given; empty for all that no rule before it chose."""
    labels: dict[str, str | None]
    vpn: bool | None
    packets: int
    samples: int
    kept: int


@dataclass(frozen=True, slots=True)
class CaptureInfo:
    """Counts of one capture: packets read, samples, rows."""

    capture: str
    """Its name in the column ``capture``."""
    file: str
    format: str
    link_types: tuple[int, ...]
    """LINKTYPE numbers by first appearance."""
    labels: dict[str, str | None]
    vpn: bool | None
    packets: int
    """Packets read, whatever is in them: the samples and all that were left out."""
    samples: int
    """Packets that the filter let through."""
    kept: int
    """Samples that the balance let through, rows of the dataset."""
    left_out: dict[str, int]
    """Packets left out by the filter, by reason."""
    flows: int
    """Biflows (five-tuples of TCP or UDP, without timeouts) of all its packets."""
    damage: str | None
    """Why reading ended early, with the byte offset; what stands before it was used."""
    rules: tuple[RuleInfo, ...] = ()
    """Where parts of the capture are labelled, and not all of it alike; ``labels`` is then empty."""


@dataclass(frozen=True, slots=True)
class SourceReport:
    """Sources that did not become rows, and why."""

    unknown: dict[str, str] = field(default_factory=dict)
    """File that no table labels -> what it is."""
    unlabelled: tuple[str, ...] = ()
    """Captures that the table knows but gives no label at all."""
    repeated: tuple[str, ...] = ()
    """Files of captures that were already read under another file's name."""
    unreadable: dict[str, str] = field(default_factory=dict)
    """File -> why it could not be read."""
    missing: tuple[str, ...] = ()
    """Captures that the table lists and the source lacks."""


@dataclass(frozen=True, slots=True)
class ClassCounts:
    """Packets of one class after each step."""

    packets: int
    """Read from captures of that label."""
    samples: int
    """Left by the filter."""
    kept: int
    """Left by the balance, rows of the dataset."""


@dataclass(frozen=True, slots=True)
class FlowCounts:
    """Biflows over the whole dataset: five-tuples of TCP or UDP, without timeouts, across captures."""

    total: int
    """Of all packets read."""
    with_rows: int
    """With at least one row in the dataset."""
    in_several_captures: int
    """Of these, those with rows from more than one capture."""
    under_different_labels: int
    """Of these, those whose rows differ in application (or the task balanced by), or some have none."""


@dataclass(frozen=True, slots=True)
class SplitInfo:
    """One split: how it was made, what it came to, and what its parts share."""

    algorithm: str
    """Name and version; with the seed and the rows, enough to make the split again."""
    seed: int
    fractions: dict[str, float]
    rows: dict[str, int]
    """Part -> rows."""
    flows: dict[str, int]
    """Part -> biflows with rows in it."""
    counts: dict[str, dict[str, dict[str, int]]]
    """Task -> label -> part -> rows."""
    leakage: Leakage
    only_trained: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Task -> classes without a row outside the training part, so that no score says anything of them."""


@dataclass(frozen=True, slots=True)
class DatasetInfo:
    """The content of ``dataset.json``.

    A row of a dataset of kind ``flows`` is the sequence of a flow (``mtc.flows.sequences``). A dataset of
    flow features counts rows of tables where the others count packets of captures; a table then is a
    capture, rows with finite values are its samples, and there are no flows.
    """

    format_version: int
    kind: Literal["packets", "flows", "features"]
    name: str
    mtc_version: str
    hash: str
    """sha256 of the rows, their labels and the seed, not of the files nor of the splits' columns."""
    rows: int
    tasks: dict[str, tuple[str, ...]]
    """Task -> its classes, in the order of the network's outputs."""
    settings: dict[str, Any]
    """Seed, cap, filter, mask, balance, draws and the table of labels."""
    files: tuple[FileInfo, ...]
    """The Parquet files of the dataset, in the order of their rows."""
    sources: tuple[FileInfo, ...]
    captures: tuple[CaptureInfo, ...]
    report: SourceReport
    packets: int
    left_out: dict[str, int]
    link_types: dict[str, int]
    """LINKTYPE number -> captures that hold packets of it."""
    counts: dict[str, dict[str, ClassCounts]]
    """Task -> label -> packets after each step; the label ``""`` counts packets without one."""
    absent: dict[str, tuple[str, ...]]
    """Task -> classes without any row."""
    flows: FlowCounts
    splits: dict[str, SplitInfo]
    """Split -> how it came out; ``flow/2`` is the split in which fold 2 of ``flow`` is tested."""
    features: FeatureInfo | None = None
    """Of a dataset of flow features only."""

    @property
    def damaged(self) -> dict[str, str]:
        """File -> why it was not read to its end, or not at all."""
        cut = {capture.file: capture.damage for capture in self.captures if capture.damage}
        return {**cut, **self.report.unreadable}

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        plain: dict[str, Any] = dataclasses.asdict(self)
        return plain

    def write(self, folder: Path) -> None:
        """Write ``dataset.json`` into a folder; the same content gives the same bytes."""
        text = json.dumps(self.to_dict(), indent=1, ensure_ascii=False)
        (folder / INFO_FILE).write_text(text + "\n", encoding="utf-8", newline="\n")

    @classmethod
    def read(cls, folder: Path) -> "DatasetInfo":
        """Read the ``dataset.json`` of a dataset.

        Raises:
            DatasetError: There is none, it is damaged, or of a version that is not read here.
        """
        path = folder / INFO_FILE
        if not folder.is_dir():
            raise DatasetError(f"{folder}: no such dataset folder")
        if not path.is_file():
            raise DatasetError(f"{folder}: not a dataset (it holds no {INFO_FILE})")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except (ValueError, OSError, RecursionError) as error:
            raise DatasetError(f"{path}: damaged ({error})") from error
        return cls.from_dict(values, path)

    @classmethod
    def from_dict(cls, values: Any, path: Path) -> "DatasetInfo":
        """Rebuild from what ``to_dict`` gave; ``path`` names it in messages.

        Raises:
            DatasetError: It is damaged, or of a version that is not read here.
        """
        version = values.get("format_version") if isinstance(values, dict) else None
        if version != FORMAT_VERSION:
            raise DatasetError(
                f"{path}: format version {version!r}, and this version of mtc reads {FORMAT_VERSION}; "
                "build the dataset again"
            )
        if values.get("kind") not in ("packets", "flows", "features"):
            raise DatasetError(f"{path}: unknown kind of dataset {values.get('kind')!r}")
        try:
            info: DatasetInfo = _parse(cls, values)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DatasetError(f"{path}: damaged ({type(error).__name__}: {error})") from error
        return info


def _parse(hint: Any, value: Any) -> Any:
    """Rebuild nested dataclasses and tuples from JSON's plain values."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint):
        hints = typing.get_type_hints(hint)
        required = {
            f.name for f in dataclasses.fields(hint) if f.default is f.default_factory is dataclasses.MISSING
        }
        given = {key: _parse(hints[key], value[key]) for key in hints if key in value or key in required}
        return typing.cast("type[Any]", hint)(**given)
    if origin is tuple:
        if not isinstance(value, list):
            raise TypeError(f"a list was expected, not {value!r}")
        return tuple(_parse(arguments[0], item) for item in value)
    if origin is dict:
        return {str(key): _parse(arguments[1], item) for key, item in value.items()}
    if origin is types.UnionType and dataclasses.is_dataclass(arguments[0]) and value is not None:
        return _parse(arguments[0], value)
    if origin in (types.UnionType, Literal) or hint is Any:
        return value
    if not isinstance(value, hint) and not (hint is float and isinstance(value, int)):
        raise TypeError(f"{hint.__name__} was expected, not {value!r}")
    return value
