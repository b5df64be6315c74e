"""A report is whole: every run, table and figure in it, nothing broken, nothing from elsewhere."""

import csv
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_inputs import result, write_results

from mtc.errors import OutputError
from mtc.palette import COLOURS
from mtc.report import Report, Run, Sources, build_report, load_sources
from mtc.report.figures import drawing as figure

ROOT = Path(__file__).resolve().parents[2]
VOID = {"meta", "link", "br", "hr", "img", "input", "col"}
BLANK = ('<svg viewBox="0 0 1 1">\n<path d="M 0 0"/></svg>', b"\x89PNG\r\n\x1a\n")


class Page(HTMLParser):
    """Elements of a page: whether they are nested well, their ids, and where they point."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            assert name not in ("src", "srcset", "action", "onclick", "onload"), (tag, name)
            if name == "id" and value is not None:
                self.ids.append(value)
            if name in ("href", "xlink:href") and value is not None and not value.startswith("data:"):
                self.links.append(value)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def check_whole(report: Report, sources: Sources) -> Page:
    """What holds of every report."""
    text = report.page.read_text(encoding="utf-8")
    page, folder = Page(text), report.page.parent
    assert not re.search(r"https?://|@import|<script|<link|<iframe", text), "something from elsewhere"
    assert not re.search(r"url\((?!#)", text)
    assert len(page.ids) == len(set(page.ids)), "an id twice"
    inside = {link[1:] for link in page.links if link.startswith("#")}
    assert inside <= set(page.ids), inside - set(page.ids)
    outside = {link for link in page.links if not link.startswith("#")}
    files = {str(path.relative_to(folder)) for path in folder.rglob("*.*") if path != report.page}
    assert outside == files, outside ^ files
    assert outside == {
        *(f"figures/{name}.{kind}" for name in report.figures for kind in ("svg", "png")),
        *(f"tables/{name}.{kind}" for name in report.tables for kind in ("csv", "tex")),
    }
    assert {*report.figures, *report.tables} <= set(page.ids)
    words = " ".join(page.text)
    for run in sources.runs:
        assert run.name in words
    for line in (*report.missing, *sources.remarks):
        assert line in words
    return page


def expected_figures(runs: list[Run]) -> set[str]:
    """Beginnings of names: what each run must have a figure of, with the ISCX or CICIDS slug in it."""
    names = set()
    for run in runs:
        data = "iscx" if run.dataset.startswith("ISCX") else run.dataset
        for task in run.scores("packet"):
            names |= {f"packet-against-flow-{data}-{task}", f"confusion-{data}-{run.split}-*-{task}"}
            names |= {f"figure-7-{data}-{run.split}-{task}-{score}" for score in ("f1", "recall")}
            names.add(f"reliability-{data}-{run.split}-{task}-packet")
        if run.log:
            names.add(f"learning-{data}-{run.split}-validation-f1")
    return names


@pytest.fixture(scope="module")
def drawn(results: Path, flows_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Report:
    sources = load_sources([results, flows_dataset])
    return build_report(sources, tmp_path_factory.mktemp("report") / "out")


def test_the_report_is_whole(drawn: Report, results: Path, flows_dataset: Path) -> None:
    sources = load_sources([results, flows_dataset])
    check_whole(drawn, sources)
    for name in expected_figures(sources.runs):
        assert any(re.fullmatch(name.replace("*", ".*"), found) for found in drawn.figures), name
    tables = {"table-4-iscx", "table-5-iscx", "table-6", "table-7", "table-8", "table-9", "sweep-batches",
              "flow-verdicts-iscx", "calibration-iscx", "costs-iscx", "all-runs", "audit-fields-iscx",
              "audit-splits-iscx", "audit-shallow-iscx", "audit-gap-iscx",
              "audit-occlusion-iscx", "open-set", "paired"}  # fmt: skip
    assert tables <= set(drawn.tables)
    audits = {
        "audit-fields-iscx-application",
        "audit-occlusion-iscx-application",
        "figure-2-cicids2017-attack",
        "open-set-application",
    }
    assert audits <= set(drawn.figures)
    told = " ".join(drawn.missing)
    assert all(f"Table {number}: Not measured here" in told for number in (6, 7, 9))
    assert "Table 8" not in told
    assert "Audit of cicids2017" in told  # the flow features, which no audit here is of


def test_table_4_holds_what_the_runs_say(drawn: Report, results: Path) -> None:
    with (drawn.page.parent / "tables" / "table-4-iscx.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    paper = next(row for row in rows if row["model"] == "MTC" and row["from"] == "paper")
    assert (paper["split"], paper["App. F1"], paper["App. Rc"]) == ("packet", "98.2500", "98.3000")
    ours = next(row for row in rows if row["model"] == "MTC" and row["split"] == "flow")
    scores = [
        json.loads((results / f"flow-mtc-{seed}.json").read_text())["parts"]["test"]["application"][
            "macro_f1"
        ]
        for seed in (1, 2)
    ]
    assert float(ours["App. F1"]) == pytest.approx(50 * sum(scores), abs=1e-4)
    assert float(ours["App. F1 ±"]) > 0
    assert ours["seeds"] == "1, 2"
    single = next(row for row in rows if row["model"] == "1D-CNN" and row["from"] == "ours")
    low, high = (float(single[f"App. F1 {end}"]) for end in ("low", "high"))
    assert low < float(single["App. F1"]) < high


def test_figures_are_well_formed_and_of_the_palette(drawn: Report) -> None:
    known = {colour.light for colour in COLOURS} | {figure.ON_COLOUR}
    for name in drawn.figures:
        text = (drawn.page.parent / "figures" / f"{name}.svg").read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        styles = " ".join(element.get("style") or "" for element in root.iter())
        assert set(re.findall(r"#[0-9a-f]{6}\b", styles)) <= known, name
        assert "<text" in text, "text is to stay text"
        png = (drawn.page.parent / "figures" / f"{name}.png").read_bytes()
        assert png.startswith(b"\x89PNG")


def test_the_same_sources_give_the_same_page(drawn: Report, results: Path, flows_dataset: Path) -> None:
    page = drawn.page.read_text(encoding="utf-8")
    first = drawn.figures[0]
    svg = (drawn.page.parent / "figures" / f"{first}.svg").read_text(encoding="utf-8")
    sources = load_sources([results, flows_dataset])
    from mtc.report.figures.splits import split_bars
    from mtc.report.groups import group_runs

    again = split_bars(group_runs(sources.runs), "ISCX VPN-nonVPN 2016")[0]
    assert (again.name, again.svg) == (first, svg)
    assert again.inline in page


def test_colours_of_the_page_are_variables(drawn: Report) -> None:
    page = drawn.page.read_text(encoding="utf-8")
    body = page[page.index("<body>") :]
    assert "var(--blue)" in body
    assert not any(colour.light in body for colour in COLOURS)
    head = page[: page.index("<body>")]
    assert "prefers-color-scheme: dark" in head
    assert all(f"--{c.name}: {c.light}" in head and f"--{c.name}: {c.dark}" in head for c in COLOURS)


@pytest.fixture
def undrawn(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures are named and described, not drawn, which takes long."""
    monkeypatch.setattr(figure, "_render", lambda *_, **__: BLANK)


@pytest.mark.usefixtures("undrawn")
def test_a_report_is_not_overwritten_unasked(results: Path, tmp_path: Path) -> None:
    sources = load_sources([results / "flow-cnn-1.json"])
    report = build_report(sources, tmp_path / "out")
    (tmp_path / "out" / "figures" / "old.svg").write_text("old")
    with pytest.raises(OutputError, match="take --force"):
        build_report(sources, tmp_path / "out")
    build_report(sources, tmp_path / "out", force=True)
    check_whole(report, sources)  # what the new one has not is gone
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "index.html").write_text("my page")
    with pytest.raises(OutputError, match="not a report"):
        build_report(sources, tmp_path / "mine", force=True)


@pytest.mark.usefixtures("undrawn")
def test_what_is_missing_is_named_and_never_invented(tmp_path: Path) -> None:
    old = result("iscx-cnn", "flow", 1)
    for parts in (old["parts"], old["flow_parts"]):
        for scores in parts["test"].values():
            for key in ("confusion", "reliability", "interval", "common"):
                scores.pop(key, None)
    del old["run"]
    folder = write_results(tmp_path / "in", {"old": old})
    sources = load_sources([folder])
    report = build_report(sources, tmp_path / "out")
    check_whole(report, sources)
    assert not [name for name in report.figures if name.startswith(("confusion", "reliability", "learning"))]
    told = " ".join(report.missing)
    for what in ("has no confusion counts", "no run has the bins", "without a log of epochs: old",
                 "no run under the paper's protocol", "Figure 2 of ISCX", "Audit of ISCX"):  # fmt: skip
        assert what in told
    assert "table-4-iscx" in report.tables


@pytest.mark.usefixtures("undrawn")
def test_names_from_data_are_escaped(tmp_path: Path) -> None:
    evil = result("iscx-cnn", "flow", 1)
    evil["dataset"]["name"] = '<script>alert("x")</script>'
    evil["run"]["command"] = '"><img src=x onerror=alert(1)>'
    sources = load_sources([write_results(tmp_path / "in", {"evil": evil})])
    report = build_report(sources, tmp_path / "out", title="a < b & c")
    page = check_whole(report, sources)
    assert "a < b & c" in " ".join(page.text)


@pytest.mark.usefixtures("undrawn")
def test_the_projects_own_report_is_whole(tmp_path: Path) -> None:
    kept = sorted((ROOT / "results").glob("*.json"))
    if not kept:
        pytest.skip("results/ holds no results")
    sources = load_sources([ROOT / "results"])
    report = build_report(sources, tmp_path / "out")
    check_whole(report, sources)
    assert sources.remarks == []
    whole = (
        sources.runs,
        sources.sweeps,
        sources.audits,
        sources.datasets,
        sources.open_sets,
        sources.paired,
    )
    assert sum(map(len, whole)) == len(kept)
    assert not sources.paired or "paired" in report.tables
    assert not sources.open_sets or "open-set" in report.tables
    for name in expected_figures(sources.runs):
        assert any(re.fullmatch(name.replace("*", ".*"), found) for found in report.figures), name
