"""The part of ``dataset.json`` that only datasets of flow features have."""

from dataclasses import dataclass

from mtc.datasets.flow_features.selection import FeatureSelection


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
