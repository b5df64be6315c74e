"""Runs that differ in their seed only, and what they say together."""

import contextlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mtc.config import RunConfig
from mtc.errors import ConfigError
from mtc.evaluation.paired import Estimate, estimate
from mtc.models.registry import REGISTRY, SHALLOW
from mtc.report.paper import PublishedRow, paper_protocol, published_tables
from mtc.report.sources import Run
from mtc.tasks import CICIDS2017, INFILTRATION, ISCX

HEADINGS = {
    "application": "App.", "traffic": "Tra.", "auxiliary": "Aux.", "attack": "Attack.", "malicious": "Mal."
}  # fmt: skip
"""Tasks as the heads of the paper's tables have them."""

NETWORKS = {name: model.title for name, model in REGISTRY.items() if model.title}
"""The paper's networks: name in the settings -> name in Table 4."""

FOLDS = " folds"
"""Behind the name of a split whose folds were tested one by one, one run per fold."""

HONEST = ("flow", f"flow{FOLDS}", "honest", f"honest{FOLDS}", "capture", f"capture{FOLDS}", "time")
"""Splits that keep the test part apart from the training part, in the order of preference."""

NO_SETTING = frozenset({"seed", "data.split"})
"""What runs of one model may differ in: the seed makes a group, and the split stands beside the name."""


@dataclass(frozen=True, slots=True)
class Group:
    """Runs of one model on one split of one dataset, one run per seed, or one run per fold.

    Attributes:
        model: Name of the model, as a reader is to see it.
        dataset: Name of the dataset.
        split: Name of the split; of folds ``flow folds``, say.
        part: The part that is scored.
        runs: At least one.
        row: The row of the paper's Table 4 that this is, if any.
        place: Of its model among all of a report, from 0: decides its colour, marker and dashes.
    """

    model: str
    dataset: str
    split: str
    part: str
    runs: tuple[Run, ...]
    row: PublishedRow | None = None
    place: int = 0

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds of the runs, as far as known."""
        return tuple(sorted({run.seed for run in self.runs if run.seed is not None}))

    @property
    def folds(self) -> int:
        """Folds that were tested; 0 where the split has none."""
        return len({run.split for run in self.runs}) if self.split.endswith(FOLDS) else 0

    @property
    def unit(self) -> str:
        """Unit of the scores: ``packet``, or ``row`` of a table of flow features."""
        return "row" if self.split.removesuffix(FOLDS) in ("honest", "paper") else "packet"

    @property
    def shallow(self) -> bool:
        """Whether the model is a baseline, no network."""
        run = self.runs[0]
        return run.config.get("model", {}).get("name") in SHALLOW

    @property
    def tasks(self) -> tuple[str, ...]:
        """Tasks with scores in any run."""
        return tuple(dict.fromkeys(task for run in self.runs for task in run.scores("packet")))

    def classes(self, task: str) -> tuple[str, ...]:
        """Labels of a task, in the order of the scores."""
        found = (run.scores("packet").get(task, {}).get("per_class", {}) for run in self.runs)
        return tuple(dict.fromkeys(label for classes in found for label in classes))

    def score(self, task: str, name: str, per: str = "packet") -> Estimate | None:
        """Mean and interval of a score of a task over seeds and folds; ``None`` where no run has it."""
        return estimate([run.scores(per).get(task, {}).get(name) for run in self.runs])

    def class_score(self, task: str, label: str, name: str, per: str = "packet") -> Estimate | None:
        """Mean and interval of a score of a class over the seeds; ``None`` where no run has it."""
        found = (run.scores(per).get(task, {}).get("per_class", {}).get(label, {}) for run in self.runs)
        return estimate([scores.get(name) for scores in found])

    def bounds(self, task: str, name: str, per: str = "packet") -> tuple[float, float] | None:
        """The 95 % bootstrap interval over flows, of the only run of a group that has one."""
        if len(self.runs) > 1:
            return None
        interval = self.runs[0].scores(per).get(task, {}).get("interval") or {}
        low, high = interval.get(name) or (None, None)
        return None if low is None or high is None else (float(low), float(high))


def group_runs(runs: Iterable[Run]) -> tuple[Group, ...]:
    """Put runs together that differ in nothing but seed and fold; by dataset, split and model."""
    together: dict[tuple[str, ...], list[Run]] = {}
    for run in runs:
        settings = json.dumps(_settings(run), sort_keys=True)
        key = (run.dataset, _split(run), run.part, _model(run), settings)
        together.setdefault(key, []).append(run)
    names = _distinct_names(list(together.values()))
    groups = [
        Group(name, key[0], key[1], key[2], tuple(members), _published_row(members[0]))
        for name, (key, members) in zip(names, together.items(), strict=True)
    ]
    # The paper's networks have the same places, and so colours, in every report.
    reserved = [row.name for row in published_tables()[4].rows]
    models = [group.model for group in sorted(groups, key=_model_order)]
    places = list(dict.fromkeys(reserved + models))
    groups = [replace(group, place=places.index(group.model)) for group in groups]
    return tuple(
        sorted(groups, key=lambda group: (*_dataset_order(group), split_order(group.split), group.place))
    )


def by_dataset(groups: Sequence[Group]) -> dict[str, list[Group]]:
    """Dataset -> its groups."""
    found: dict[str, list[Group]] = {}
    for group in groups:
        found.setdefault(group.dataset, []).append(group)
    return found


def by_split(groups: Sequence[Group]) -> dict[tuple[str, str], list[Group]]:
    """(dataset, split) -> the groups."""
    found: dict[tuple[str, str], list[Group]] = {}
    for group in groups:
        found.setdefault((group.dataset, group.split), []).append(group)
    return found


def paper_tasks(groups: Sequence[Group]) -> tuple[str, ...]:
    """Tasks of groups whose classes are the paper's, so that its numbers may stand beside theirs."""
    known = {**ISCX, **CICIDS2017}
    tasks = dict.fromkeys(task for group in groups for task in group.tasks)
    return tuple(
        task
        for task in tasks
        if task in known
        and all(set(group.classes(task)) - {INFILTRATION} <= set(known[task]) for group in groups)
    )


def paper_split(dataset_groups: Sequence[Group]) -> str | None:
    """The split among those of some groups that is the paper's protocol, if any."""
    protocol = paper_protocol()
    wanted = {protocol[task] for group in dataset_groups for task in group.tasks if task in protocol}
    return next((group.split for group in dataset_groups if group.split in wanted), None)


def honest_split(dataset_groups: Sequence[Group]) -> str | None:
    """The split among those of some groups whose test part is apart from what was trained on, if any."""
    splits = {group.split for group in dataset_groups}
    return next((split for split in HONEST if split in splits), None)


def split_text(split: str) -> str:
    """A split in words: the two of flow features say what comes first, balance or split."""
    name = split.removesuffix(FOLDS)
    known = {"honest": "split first (honest)", "paper": "balanced first (paper)"}
    return known.get(name, f"split by {name}") + (", folds" if name != split else "")


def split_order(split: str) -> tuple[int, str]:
    """For sorting: honest splits first, the paper's last."""
    place = HONEST.index(split) if split in HONEST else len(HONEST)
    return (place + (split in paper_protocol().values()), split)


def _dataset_order(group: Group) -> tuple[bool, str]:
    """The dataset of the paper's three tasks first."""
    return (set(group.tasks).isdisjoint(ISCX), group.dataset)


def _model_order(group: Group) -> tuple[int, str]:
    """The paper's networks first, as Table 4 has them."""
    names = [row.name for row in published_tables()[4].rows]
    return (names.index(group.row.name) if group.row else len(names), group.model)


def _model(run: Run) -> str:
    """Name of a run's model: the paper's where it is one of its networks."""
    row = _published_row(run)
    if row is not None:
        return row.name
    name = run.config.get("model", {}).get("name") or run.metrics.get("model")
    if run.recipe and name in NETWORKS:
        return run.recipe  # a recipe of ours on one of these networks
    return NETWORKS.get(str(name), str(name or run.name))


def _published_row(run: Run) -> PublishedRow | None:
    """The row of Table 4 that a run is, by its recipe or its network."""
    table = published_tables()[4]
    if run.recipe is not None:
        return table.row(run.recipe)
    network = NETWORKS.get(str(run.config.get("model", {}).get("name") or run.metrics.get("model")))
    if network is None:
        return None
    tasks = set(run.scores("packet"))
    return table.row("MTC-2task" if network == "MTC" and tasks == {"application", "traffic"} else network)


def _settings(run: Run) -> dict[str, Any]:
    """Settings of a run by dotted key; one that is newer than the run has its default."""
    config: Mapping[str, Any] = run.config
    if config:
        with contextlib.suppress(ConfigError):  # of another version: its settings are shown as they are
            config = RunConfig.from_dict(config).to_dict()
    return {key: value for key, value in _flat(config).items() if key not in NO_SETTING}


def _split(run: Run) -> str:
    """Name of a run's split; its folds, such as ``flow/2``, are of one."""
    name, _, fold = run.split.partition("/")
    return name + (FOLDS if fold else "")


def _short(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else json.dumps(value).strip('"')


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat


def _distinct_names(members: Sequence[Sequence[Run]]) -> list[str]:
    """A name for each group: its model's, and where others share that, the settings in which it differs."""
    first = [runs[0] for runs in members]
    places = [(run.dataset, _split(run), _model(run)) for run in first]
    settings = [_settings(run) for run in first]
    names = []
    for place, own in zip(places, settings, strict=True):
        rivals = [other for other, at in zip(settings, places, strict=True) if at == place]
        differing = [
            f"{key.rpartition('.')[2]}={_short(value)}"
            for key, value in sorted(own.items())
            if any(rival.get(key) != value for rival in rivals)
        ]
        names.append(f"{place[2]} ({', '.join(differing)})" if differing else place[2])
    taken = Counter((*place[:2], name) for place, name in zip(places, names, strict=True))
    return [  # what still cannot be distinguished has the name of its first run beside it
        name if taken[(*place[:2], name)] == 1 else f"{name}, {run.name}"
        for place, name, run in zip(places, names, first, strict=True)
    ]


_SHORT = {"ISCX VPN-nonVPN 2016": "iscx"}


def slug(name: str) -> str:
    """A name in lower case, of letters, digits and dashes only: fit for a file and for an id."""
    return re.sub(r"[^a-z0-9]+", "-", _SHORT.get(name, name).lower()).strip("-") or "unnamed"
