"""What all pages share: the bar at the top, light and dark, styles."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from importlib import resources

from nicegui import ui

from mtc import palette
from mtc.serving.http.parts import Parts
from mtc.serving.page import texts

PLACES = (("Captures", "/"), ("Live", "/live"), ("Models", "/models"))
DARK_KEY = "mtc-dark"


@cache
def styles() -> str:
    """The style sheet, with the palette's colours as variables."""
    text = resources.files("mtc.serving.page").joinpath("style.css").read_text("utf-8")
    colours = {colour.name: colour for colour in palette.COLOURS}
    light = "".join(f"--{name}:{colour.light};" for name, colour in colours.items())
    dark = "".join(f"--{name}:{colour.dark};" for name, colour in colours.items())
    return f":root{{{light}}}\nbody.body--dark{{{dark}}}\n{text}"


def heading(level: int, text: str) -> None:
    """A heading, 1 for that of the page."""
    ui.html(texts.html(text), sanitize=False, tag=f"h{level}")


# Light or dark is the browser's own matter: it keeps the choice, and the server never learns of it.
RESTORE_THEME = f"""
const kept = localStorage.getItem("{DARK_KEY}");
if (kept) setDark(kept === "true");
"""
SWITCH_THEME = f"""() => {{
    const dark = !document.body.classList.contains("body--dark");
    setDark(dark);
    localStorage.setItem("{DARK_KEY}", dark);
}}"""


@contextmanager
def frame(parts: Parts, title: str) -> Iterator[None]:
    """A page: its bar, and room for what it shows."""
    ui.page_title(f"{title} - mtc")
    ui.add_css(styles())
    ui.colors(primary=palette.BLUE.light, secondary=palette.FRAME.light, accent=palette.PURPLE.light)
    ui.run_javascript(RESTORE_THEME)
    with ui.header().classes("bar"):
        ui.link("mtc", "/").classes("brand")
        with ui.element("nav").props('aria-label="Pages"').classes("places"):
            for name, target in PLACES:
                ui.link(name, target).classes("here" if name == title else "")
        ui.space()
        theme = ui.button(icon="contrast").props('flat round color=secondary aria-label="Light or dark"')
        theme.on("click", js_handler=SWITCH_THEME)
        if parts.authenticator.asks:
            with ui.element("form").props('method="post" action="/logout"'):
                ui.html("Sign out", sanitize=False, tag="button").props('type="submit"').classes("plain")
    with ui.element("main").classes("room") as main:
        yield
    ui.skip_link("Skip to the content", target=main)


NUMBERS = frozenset({"packets", "bytes", "packet", "flow"})

VERDICT = """
<q-td key="{task}" :props="props">
  <span class="cap">{task}</span>
  <span :class="['verdict', props.row['{task}'].label]">
    <span class="label">{{{{ props.row['{task}'].label }}}}</span>
    <span class="sure">{{{{ props.row['{task}'].sure }}}}</span>
    <i aria-hidden="true" v-if="props.row['{task}'].sure">
      <b :style="{{width: props.row['{task}'].share + '%'}}"></b>
    </i>
  </span>
</q-td>"""

CELL = """
<q-td key="{name}" :props="props"><span class="cap">{name}</span>{{{{ {value} }}}}</q-td>"""

OPENING = """
<q-td key="{name}" :props="props"><span class="cap">{name}</span>
  <button class="open" type="button" v-if="!props.row.closed" @click="$parent.$emit('open', props.row.{name})"
    :aria-label="'Open {name} ' + props.row.{name}">{{{{ props.row.{name} }}}}</button>
  <span v-else>{{{{ props.row.{name} }}}}</span>
</q-td>"""


def head(names: Iterable[str], tasks: Iterable[str]) -> list[dict[str, object]]:
    """Columns: plain ones, then one a task."""
    plain: list[dict[str, object]] = [
        {
            "name": name,
            "label": name,
            "field": name,
            "sortable": True,
            "align": "right" if name in NUMBERS else "left",
        }
        for name in names
    ]
    return plain + [{"name": task, "label": task, "field": task, "align": "left"} for task in tasks]


def cells(opening: str, names: Iterable[str], tasks: Iterable[str]) -> str:
    """The template of a row: a button that opens it, plain cells, a verdict a task."""
    parts = [OPENING.format(name=opening)]
    for name in names:
        value = f"props.row['{name}']" + (".toLocaleString('en')" if name in NUMBERS else "")
        parts.append(CELL.format(name=name, value=value))
    parts += [VERDICT.format(task=task.replace("'", "")) for task in tasks]
    return f'<q-tr :props="props">{"".join(parts)}</q-tr>'
