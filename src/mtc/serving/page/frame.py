"""What all pages share: the bar at the top, light and dark, styles."""

from collections.abc import Iterator
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


@contextmanager
def frame(parts: Parts, title: str) -> Iterator[ui.dark_mode]:
    """A page: its bar, and room for what it shows.

    Yields:
        Whether the page is dark; None where the system decides.
    """
    ui.page_title(f"{title} - mtc")
    ui.add_css(styles())
    ui.colors(primary=palette.BLUE.light, secondary=palette.FRAME.light, accent=palette.PURPLE.light)
    dark = ui.dark_mode(None)
    with ui.header().classes("bar"):
        ui.link("mtc", "/").classes("brand")
        with ui.element("nav").props('aria-label="Pages"').classes("places"):
            for name, target in PLACES:
                ui.link(name, target).classes("here" if name == title else "")
        ui.space()
        _theme_button(dark)
        if parts.keeper.asks:
            with ui.element("form").props('method="post" action="/logout"'):
                ui.html("Sign out", sanitize=False, tag="button").props('type="submit"').classes("plain")
    with ui.element("main").classes("room") as main:
        yield dark
    ui.skip_link("Skip to the content", target=main)


def _theme_button(dark: ui.dark_mode) -> None:
    async def restore() -> None:
        kept = await ui.run_javascript(f"localStorage.getItem('{DARK_KEY}')")
        if kept in ("true", "false"):
            dark.value = kept == "true"

    async def switch() -> None:
        is_dark = await ui.run_javascript("document.body.classList.contains('body--dark')")
        dark.value = not is_dark
        ui.run_javascript(f"localStorage.setItem('{DARK_KEY}', '{str(not is_dark).lower()}')")

    ui.button(icon="contrast", on_click=switch).props('flat round color=secondary aria-label="Light or dark"')
    ui.timer(0.05, restore, once=True)
