"""The models and their cards."""

from typing import Any

from nicegui import ui

from mtc.serving.http.parts import Parts
from mtc.serving.page import texts
from mtc.serving.page.frame import frame, heading


def build(parts: Parts) -> None:
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
