"""The pages, put onto the server's application."""

from typing import Any

from fastapi import FastAPI
from nicegui import ui

from mtc.serving.http.parts import Parts
from mtc.serving.page import captures, live, texts
from mtc.serving.page.frame import frame, heading
from mtc.serving.page.job import job_page


def build_models(parts: Parts) -> None:
    """Show the page."""
    with frame(parts, "Models"):
        heading(1, "Models")
        for name in parts.models:
            with ui.element("section").classes("part").props(f'aria-label="{texts.html(name)}"'):
                _show(parts.models.brief(name), parts.models.text(name))


def _show(model: dict[str, Any], card: str | None) -> None:
    heading(2, model["name"])
    data = model["dataset"]
    rows = data["train_rows"]
    trained = f", trained on {data['name']}" if data["name"] else ""
    count = f" ({rows:,} samples, split by {data['split']})" if rows else ""
    ui.label(f"{model['kind']}, reads {model['reads']}{trained}{count}").classes("faint")
    columns = [
        {"name": "task", "label": "task", "field": "task", "align": "left"},
        {"name": "classes", "label": "classes", "field": "classes", "align": "left"},
        *(
            {"name": key, "label": label, "field": key, "align": "right"}
            for key, label in (
                ("macro_f1_packets", "macro F1, packets"),
                ("macro_f1_flows", "macro F1, flows"),
                ("accuracy_flows", "accuracy, flows"),
            )
        ),
    ]
    table = ui.table(columns=columns, rows=[_row(model, task) for task in model["tasks"]], row_key="task")
    table.props("flat dense wrap-cells").style("width: 100%")
    for note in model["notes"]:
        ui.label(note).classes("faint")
    if card is not None:
        with ui.expansion("The whole card").style("width: 100%"):
            ui.markdown(card)


def _row(model: dict[str, Any], task: str) -> dict[str, str]:
    scores = model["scores"][task]
    shown = {key: "-" if value is None else f"{value:.3f}" for key, value in scores.items()}
    return {"task": task, "classes": ", ".join(model["tasks"][task]), **shown}


FAVICON = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16"><rect width="16" height="16" rx="3" '
    'fill="#0072b2"/><path d="M3 12V6M6.5 12V3M10 12V8M13 12V5" stroke="#fff" stroke-width="2"/></svg>'
)


def add_page(app: FastAPI, parts: Parts) -> None:
    """Put the pages onto the application; once in a process, as their library has only one site."""

    @ui.page("/")
    def show_captures() -> None:
        captures.build(parts)

    @ui.page("/jobs/{job_id}")
    def show_job(job_id: str) -> None:
        job_page(parts, job_id)

    @ui.page("/live")
    def show_live() -> None:
        live.build(parts)

    @ui.page("/models")
    def show_models() -> None:
        build_models(parts)

    ui.run_with(app, title="mtc", favicon=FAVICON, dark=None, language="en-US", show_welcome_message=False)
