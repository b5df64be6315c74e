"""Write a report: one page that needs nothing beside it, and every figure and table as files."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from mtc import __version__
from mtc.errors import OutputError
from mtc.files import write_text
from mtc.report.compare import cards
from mtc.report.figures.drawing import variables
from mtc.report.groups import Group, by_dataset, group_runs
from mtc.report.paper import paper_source
from mtc.report.sections import Section, build_sections
from mtc.report.sources import Sources
from mtc.report.tables.table import Percent, cell_text, csv_text, latex_text

PAGE = "index.html"
FIGURES, TABLES = "figures", "tables"
GENERATOR = f"mtc report {__version__}"
TITLE = "Encrypted traffic: scores, splits and shortcuts"
SUFFIXES = {FIGURES: (".svg", ".png"), TABLES: (".csv", ".tex")}


@dataclass(frozen=True, slots=True)
class Report:
    """Files of a report.

    Attributes:
        page: The page.
        tables: Names of the tables, in the page's order.
        figures: Names of the figures, in the page's order.
        missing: What is not in the report, and how it would come.
    """

    page: Path
    tables: tuple[str, ...]
    figures: tuple[str, ...]
    missing: tuple[str, ...]


def build_report(
    sources: Sources,
    out: str | Path,
    *,
    title: str = TITLE,
    force: bool = False,
    progress: Callable[[str], None] = lambda section: None,
) -> Report:
    """Write a report. The same sources and libraries give the same files.

    Args:
        sources: What it is made of.
        out: The folder to write: ``index.html``, ``figures/`` and ``tables/``.
        title: Title of the table or section.
        force: Replace the report that is there.
        progress: Called with the title of every section that is done.

    Raises:
        OutputError: Something is there already, or the place is not writable.
    """
    out = Path(out)
    _prepare(out, force=force)
    groups = group_runs(sources.runs)
    sections = []
    for section in build_sections(sources, groups):
        for table in section.tables:
            write_text(out / TABLES / f"{table.name}.csv", csv_text(table))
            write_text(out / TABLES / f"{table.name}.tex", latex_text(table))
        for figure in section.figures:
            figure.write(out / FIGURES)
        sections.append(section)
        progress(section.title)
    write_text(out / PAGE, _page(title, sources, groups, sections))
    return Report(
        page=out / PAGE,
        tables=tuple(table.name for section in sections for table in section.tables),
        figures=tuple(figure.name for section in sections for figure in section.figures),
        missing=tuple(line for section in sections for line in section.missing),
    )


def _prepare(out: Path, *, force: bool) -> None:
    """Make the folders; of a report that is there, remove what this one would not replace."""
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            if not _is_report(out):
                raise OutputError(f"{out} exists already and is not a report")
            if not force:
                raise OutputError(f"{out} exists already; take --force to replace it")
            (out / PAGE).unlink()
            for folder, suffixes in SUFFIXES.items():
                for path in (out / folder).glob("*"):
                    if path.suffix in suffixes:
                        path.unlink()
        for folder in SUFFIXES:
            (out / folder).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out}: not writable ({error.strerror})") from error


def _is_report(out: Path) -> bool:
    """Whether a folder holds a report, or what was written of one before it was interrupted."""
    page = out / PAGE
    if page.is_file():
        return 'content="mtc report ' in page.read_text(encoding="utf-8", errors="replace")[:1000]
    return out.is_dir() and {path.name for path in out.iterdir()} <= SUFFIXES.keys()


def _page(title: str, sources: Sources, groups: Sequence[Group], sections: Sequence[Section]) -> str:
    import jinja2  # slow to import

    room = resources.files("mtc.report")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.tests["percent"] = lambda cell: isinstance(cell, Percent)
    css = (room / "page.css").read_text(encoding="utf-8")
    for name, dark in (("light", False), ("dark", True)):
        rules = " ".join(f"{key}: {value};" for key, value in variables(dark=dark).items())
        css = css.replace(f"{{{{ {name} }}}}", rules)
    template = environment.from_string((room / "page.html.j2").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        generator=GENERATOR,
        css=css,
        lead=_lead(sources, groups),
        cards=[card for name, members in by_dataset(groups).items() for card in cards(members, name)],
        sections=sections,
        paper=paper_source(),
        cell_text=cell_text,
        interval_widths=lambda table: [table.interval_width(i) for i in range(len(table.columns))],
    )


def _lead(sources: Sources, groups: Sequence[Group]) -> str:
    models = {group.model for group in groups}
    datasets = dict.fromkeys([group.dataset for group in groups] + list(sources.datasets))
    counts = [
        (len(sources.runs), "run"), (len(models), "model"), (len(sources.sweeps), "sweep"),
        (len(sources.audits), "audit"), (len(sources.open_sets), "open-set evaluation"),
    ]  # fmt: skip
    facts = ", ".join(f"{n} {name}{'' if n == 1 else 's'}" for n, name in counts if n)
    return f"{facts or 'No runs'}; data: {', '.join(datasets) or 'none'}."
