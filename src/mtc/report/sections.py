"""Sections of a report, in order: tables, figures, and remarks on what could not be shown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from mtc.report.figures.audit import audit_figures
from mtc.report.figures.classes import MOST_LINES, class_lines, histograms
from mtc.report.figures.confusion import confusion_matrices
from mtc.report.figures.drawing import Figure
from mtc.report.figures.reliability import reliability_diagrams
from mtc.report.figures.splits import split_bars
from mtc.report.figures.training import learning_curves
from mtc.report.groups import Group, by_dataset, by_split, honest_split, paper_split, split_text
from mtc.report.open_sets import open_set_figures, open_set_table
from mtc.report.sources import Sources
from mtc.report.tables.audit import audit_name, audit_tables, sentences
from mtc.report.tables.comparison import (
    calibration_table,
    class_table,
    common_table,
    flow_table,
    paired_table,
    table_4,
    table_5,
)
from mtc.report.tables.runs import (
    SWEEP_TABLES,
    cost_table,
    other_sweep_table,
    run_table,
    sweep_number,
    sweep_table,
)
from mtc.report.tables.table import Table


@dataclass(slots=True)
class Block:
    """Tables and figures that belong together.

    Attributes:
        title: Empty where the section's title says it.
        text: Paragraphs above.
        points: Lines of a list above.
        tables: Shown one below the other.
        figures: Shown side by side where there is room.
        folded: Whether a reader opens it only when wanted.
    """

    title: str = ""
    text: list[str] = field(default_factory=list)
    points: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    folded: bool = False


@dataclass(slots=True)
class Section:
    """A section of the report.

    Attributes:
        name: Its place in the page.
        title: Title of the table or section.
        text: Paragraphs below the title.
        blocks: Its content; empty where there is nothing to show.
        missing: What is not here, and how it would come.
    """

    name: str
    title: str
    text: list[str] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)

    @property
    def tables(self) -> list[Table]:
        """All tables of the section."""
        return [table for block in self.blocks for table in block.tables]

    @property
    def figures(self) -> list[Figure]:
        """All figures of the section."""
        return [figure for block in self.blocks for figure in block.figures]


def build_sections(sources: Sources, groups: Sequence[Group]) -> Iterator[Section]:
    """All sections, in their order; each is drawn on request."""
    yield _scores(sources, groups)
    yield _splits(groups)
    yield _classes(groups)
    yield _confusion(groups)
    yield _calibration(groups)
    yield _unknown(sources)
    yield _training(groups)
    yield _sweeps(sources)
    yield _data(sources)
    yield _audits(sources)
    yield _runs(sources, groups)


def _scores(sources: Sources, groups: Sequence[Group]) -> Section:
    section = Section("scores", "Scores beside the paper's")
    for dataset, members in by_dataset(groups).items():
        found = [
            table_4(members, dataset), table_5(members, dataset), flow_table(members, dataset),
            common_table(members, dataset),
        ]  # fmt: skip
        section.blocks.append(Block(dataset, tables=[table for table in found if table is not None]))
    if sources.paired:
        section.blocks.append(Block("Which model is better", tables=[paired_table(sources.paired)]))
    if not groups:
        section.missing.append("Tables 4 and 5: no run is in this report (mtc train, mtc evaluate).")
    return section


def _splits(groups: Sequence[Group]) -> Section:
    section = Section(
        "splits",
        "Packet split against flow split",
        [
            "A random split of packets puts packets of one flow on both sides. The honest split keeps flows "
            "whole; for tables of flow features it splits first, and balances the training part only."
        ],
    )
    for dataset, members in by_dataset(groups).items():
        section.blocks.append(Block(dataset, figures=split_bars(members, dataset)))
        if honest_split(members) is None:
            section.missing.append(f"{dataset}: no run on unseen flows (mtc train --set data.split=flow).")
        if paper_split(members) is None:
            section.missing.append(
                f"{dataset}: no run under the paper's protocol (mtc train --set data.split=packet, of flow "
                "features data.split=paper)."
            )
    return section


def _classes(groups: Sequence[Group]) -> Section:
    section = Section(
        "classes",
        "Figure 7: scores by class",
        ["F1 and recall of every class with a test sample; bands are 95 % intervals over seeds."],
    )
    for (dataset, split), members in by_split(groups).items():
        figures = class_lines(members, dataset, split)
        block = Block(f"{dataset}, {split_text(split)}", figures=figures)
        if len(members) > MOST_LINES:
            block.text.append(f"Not drawn: {', '.join(group.model for group in members[MOST_LINES:])}.")
        tasks = dict.fromkeys(task for group in members for task in group.tasks)
        tables = [class_table(members, dataset, split, task) for task in tasks]
        section.blocks += [block, Block("The numbers", tables=tables, folded=True)]
    if not groups:
        section.missing.append("Figure 7: no run is in this report.")
    return section


def _confusion(groups: Sequence[Group]) -> Section:
    section = Section(
        "confusion",
        "Confusion",
        [
            "Rows are labels, columns predictions; cells are percent of the label's samples, all seeds "
            "together."
        ],
    )
    for (dataset, split), members in by_split(groups).items():
        first = True
        for group in members:
            figures = confusion_matrices(group)
            if figures:
                title = f"{dataset}, {split_text(split)}: {group.model}"
                section.blocks.append(Block(title, figures=figures, folded=not first))
                first = False
            else:
                section.missing.append(
                    f"{dataset}, {split_text(split)}: {group.model} has no confusion counts (mtc evaluate)."
                )
    return section


def _calibration(groups: Sequence[Group]) -> Section:
    section = Section(
        "calibration",
        "Confidence",
        [
            "A confidence is worth its name where the lines lie on the diagonal. Bins of fewer than ten "
            "samples are not drawn."
        ],
    )
    for dataset, members in by_dataset(groups).items():
        section.blocks.append(Block(dataset, tables=[calibration_table(members, dataset)]))
    for (dataset, split), members in by_split(groups).items():
        figures = reliability_diagrams(members, dataset, split)
        if figures:
            section.blocks.append(Block(f"Reliability: {dataset}, {split_text(split)}", figures=figures))
        else:
            section.missing.append(
                f"Reliability diagrams of {dataset}, {split_text(split)}: no run has the bins (mtc evaluate)."
            )
    return section


def _unknown(sources: Sources) -> Section:
    section = Section("unknown", "Unknown classes")
    found = list(sources.open_sets.values())
    if found:
        section.text.append(
            "The better a model knows what it does not know, the fewer flows of classes that it was trained "
            "without it answers."
        )
        block = Block(tables=[open_set_table(found)], figures=open_set_figures(found))
        section.blocks.append(block)
    else:
        section.missing.append(
            "Unknown classes: no open-set evaluation is in this report (scripts/open_set.py)."
        )
    return section


def _training(groups: Sequence[Group]) -> Section:
    section = Section("training", "Training", ["One line per run, of one model in one colour."])
    for (dataset, split), members in by_split(groups).items():
        figures = learning_curves(members, dataset, split)
        if figures:
            section.blocks.append(Block(f"Learning curves: {dataset}, {split_text(split)}", figures=figures))
        silent = [run.name for group in members for run in group.runs if not run.log]
        if silent:
            section.missing.append(f"Learning curves without a log of epochs: {', '.join(silent)}.")
    tables = [cost_table(members, dataset) for dataset, members in by_dataset(groups).items()]
    section.blocks.append(Block("Costs", tables=tables))
    return section


def _sweeps(sources: Sources) -> Section:
    section = Section("sweeps", "Tables 6 to 9: sweeps")
    found: dict[int, list[str]] = {}
    others = []
    for name, sweep in sources.sweeps.items():
        number = sweep_number(sweep)
        if number is None:
            others.append(other_sweep_table(sweep, name))
        else:
            found.setdefault(number, []).append(name)
    tables = []
    for number in SWEEP_TABLES:
        names = found.get(number, [])
        if not names:
            tables.append(sweep_table(number, None))
            section.missing.append(f"Table {number}: {tables[-1].note}")
        for place, name in enumerate(names):
            tables.append(sweep_table(number, sources.sweeps[name], name if place else ""))
    section.blocks.append(Block(tables=tables + others))
    return section


def _data(sources: Sources) -> Section:
    section = Section("data", "Figure 2: the data")
    for name, info in sources.datasets.items():
        section.blocks.append(Block(name, figures=histograms(info)))
    missing = dict.fromkeys(run.dataset for run in sources.runs if run.dataset not in sources.datasets)
    section.missing += [
        f"Figure 2 of {name}: its dataset.json is not in this report (name the dataset folder)."
        for name in missing
    ]
    if not sources.datasets and not missing:
        section.missing.append("Figure 2: no dataset.json is in this report.")
    return section


def _audits(sources: Sources) -> Section:
    section = Section("audit", "Audit: what gives the label away")
    for name, audit in sources.audits.items():
        verdict, findings = sentences(audit)
        block = Block(
            audit_name(audit, name),
            points=list(verdict),
            figures=audit_figures(audit, name),
        )
        numbers = Block("The numbers", points=list(findings), tables=audit_tables(audit, name), folded=True)
        section.blocks += [block, numbers]
    audited = {audit_name(audit, name) for name, audit in sources.audits.items()}
    names = dict.fromkeys([*sources.datasets, *(run.dataset for run in sources.runs)])
    section.missing += [
        f"Audit of {name}: no audit.json of it is in this report (mtc audit DATASET --out DIR)."
        for name in names
        if name not in audited
    ]
    return section


def _runs(sources: Sources, groups: Sequence[Group]) -> Section:
    section = Section("runs", "Every run")
    section.blocks.append(Block(tables=[run_table(groups)]))
    if sources.remarks:
        section.blocks.append(Block("Remarks", points=list(sources.remarks)))
    return section
