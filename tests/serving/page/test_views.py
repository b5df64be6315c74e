"""What the page shows, without a browser: charts, reasons, running watches."""

from pathlib import Path

import pytest

from mtc.serving.page import charts, packets, texts
from mtc.serving.page.live import STEP_S, STEPS, LiveFlows

TIME = "2026-11-23T16:00:{:02}.000000+00:00"


def test_the_largest_classes_get_a_series_and_unknown_is_among_them() -> None:
    rows = {f"class {n}": [n, n] for n in range(10, 20)} | {"unknown": [1, 0]}
    series = charts.merged(rows)
    assert list(series) == [f"class {n}" for n in range(19, 13, -1)] + ["unknown", "others"]
    assert sum(map(sum, series.values())) == sum(map(sum, rows.values()))


def test_every_series_has_a_colour_of_its_own() -> None:
    labels = ["unknown", *(f"class {n}" for n in range(charts.MOST_SERIES))]
    colours = charts.colours_of(labels)
    assert colours["unknown"].name == "grey"
    assert len({colour.light for colour in colours.values()}) == len(labels)


def test_bytes_are_shown_in_colour_and_held_back_ones_are_not_shown() -> None:
    found = {"bytes": [1.0, -0.5, 0.0], "data": [0x45, 0x16, None], "names": ["a<b", "c", "payload 0-15"]}
    html = packets.hex_view(found)
    assert "45</span>" in html
    assert "var(--blue) 85%" in html
    assert 'class="b minus"' in html
    assert "··" in html
    assert "a&lt;b" in html


def test_fields_are_bars_to_both_sides() -> None:
    html = packets.field_view({"fields": {"ttl": 2.0, "port": -1.0}, "numbers": {"x": 0.5}})
    assert html.index("ttl") < html.index("port") < html.index("number x")
    assert 'against-it" style="width:50.0%"' in html


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1500, "1.5 kB"), (345_018, "345 kB"), (2e12, "2,000 GB")]
)
def test_sizes(count: float, text: str) -> None:
    assert texts.size(count) == text


def _event(flow_id: int, size: int, second: int, label: str) -> dict[str, object]:
    return {
        "event_type": "flow_verdict",
        "host": "sensor",
        "flow_id": flow_id,
        "flow": {"bytes_toserver": size, "bytes_toclient": 0, "end": TIME.format(second)},
        "tasks": {"application": {"label": label, "confidence": 0.9}},
    }


def test_a_flow_counts_its_new_bytes_only_once() -> None:
    known = LiveFlows()
    known.add(_event(1, 100, 0, "SFTP"))
    known.add(_event(1, 150, 20, "Skype"))
    known.add(_event(2, 10, 20, "Skype"))
    _, rows = known.over_time("application")
    assert len(known.flows) == 2
    assert (sum(rows["SFTP"]), sum(rows["Skype"])) == (100, 60)
    assert all(len(row) == STEPS for row in rows.values())
    assert rows["Skype"][-1] == 60
    assert rows["SFTP"][-1 - 20 // STEP_S] == 100


def test_the_style_sheet_is_part_of_the_package() -> None:
    from mtc.serving.page.frame import styles

    assert ":focus-visible" in styles()
    assert "--blue:#0072b2" in styles()
    assert "@import" not in styles() + Path(charts.__file__).with_name("style.css").read_text()
