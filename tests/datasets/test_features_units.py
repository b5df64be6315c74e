"""Times of flow features come out in microseconds, whatever unit the table has them in."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mtc.datasets import FEATURES
from mtc.datasets.flow_features.opening import open_table
from mtc.datasets.flow_features.units import FRAME_ROWS, TimeUnits

TIMES = [i for i, name in enumerate(FEATURES) if "IAT" in name or name.startswith(("Active", "Idle"))]
DURATION, RATE = FEATURES.index("Flow Duration"), FEATURES.index("Flow Packets/s")


def flows(rows: int = 50) -> NDArray[np.float64]:
    """Rows that obey CICFlowMeter's formulas, in microseconds."""
    generator = np.random.default_rng(4)
    values = generator.integers(1, 10_000, (rows, len(FEATURES))).astype(float)
    forward, back = FEATURES.index("Total Fwd Packets"), FEATURES.index("Total Backward Packets")
    values[:, forward], values[:, back] = generator.integers(1, 50, (2, rows))
    packets = values[:, forward] + values[:, back]
    values[:, DURATION] = generator.integers(1, 120_000_000, rows)
    values[:, RATE] = packets / (values[:, DURATION] / 1e6)
    values[:, FEATURES.index("Flow IAT Mean")] = values[:, DURATION] / np.maximum(packets - 1, 1)
    values[:, FEATURES.index("Min Packet Length")] = 0
    return np.asfortranarray(values)


@pytest.mark.parametrize(
    ("per_second", "name"), [(1, "seconds"), (1e3, "milliseconds"), (1e9, "nanoseconds")]
)
def test_times_are_converted(per_second: float, name: str) -> None:
    right, units = flows(), TimeUnits()
    given = right.copy(order="F")
    given[:, [DURATION, *TIMES]] *= per_second / 1e6
    units.convert(given)
    assert np.allclose(given, right, rtol=1e-12)
    assert units.found == {name}
    assert name in units.notes()[0]


def test_gaps_may_have_another_unit_than_durations() -> None:
    right, units = flows(), TimeUnits()
    given = right.copy(order="F")
    given[:, TIMES] /= 1e6
    units.convert(given)
    assert np.allclose(given, right, rtol=1e-12)


def test_microseconds_stay_as_they_are() -> None:
    right, units = flows(), TimeUnits()
    right[0, RATE], right[1, DURATION], right[2, RATE] = np.inf, 0, np.nan  # as CICFlowMeter writes them
    given = right.copy(order="F")
    units.convert(given)
    assert np.array_equal(given, right, equal_nan=True)
    assert units.notes() == []


def test_a_unit_holds_for_blocks_that_do_not_show_it() -> None:
    right, units = flows(), TimeUnits()
    first, second = right[:25].copy(), right[25:].copy()
    first[:, [DURATION, *TIMES]] /= 1e6
    second[:, [DURATION, *TIMES]] /= 1e6
    second[:, RATE] = np.nan
    units.convert(first)
    units.convert(second)
    assert np.allclose(second[:, DURATION], right[25:, DURATION])


def test_what_agrees_with_no_unit_is_reported() -> None:
    given, units = flows(), TimeUnits()
    given[:, DURATION] *= 7
    before = given.copy()
    units.convert(given)
    assert np.array_equal(given, before)
    assert "agree with no unit" in units.notes()[0]


def test_lengths_of_whole_frames_are_reported() -> None:
    given, units = flows(), TimeUnits()
    given[:, FEATURES.index("Min Packet Length")] = 54
    units.convert(given[: FRAME_ROWS - 1])
    assert units.notes() == []
    units.convert(given)
    assert "whole frames" in units.notes()[0]


def test_no_real_table_is_converted(shared_data: Path) -> None:
    from mtc.datasets.flow_features.sources import find_tables

    rows = 0
    for source in find_tables([shared_data / "cicids2017-mini"]):
        with open_table(source) as table:
            rows += sum(int(block.flows().sum()) for block in table)
            assert (table.units.notes(), table.units.uncertain, table.damage) == ([], 0, None)
            assert rows
            assert table.rows
    assert rows == 65_512


Write = Callable[..., Path]


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_dialects(tmp_path: Path, write_table: Write, ends: str, separator: str, encoding: str) -> None:
    plain = write_table(tmp_path / "plain.csv", [b"BENIGN", b"DDoS"] * 4)
    lines = plain.read_text().splitlines()
    note = f'"a ""remark""{separator} over{ends}two lines"'
    rows = [lines[0].replace(",", separator) + f'{separator}"No{separator}te"']
    rows += [line.replace(",", separator) + separator + note for line in lines[1:]]
    other = tmp_path / "other.csv"
    other.write_bytes((ends.join(rows) + ends).encode(encoding))
    with open_table(plain) as one, open_table(other) as two:
        expected, found = next(iter(one)), next(iter(two))
        assert np.array_equal(found.values, expected.values)
        assert found.readable.all()
        assert found.flows().all()
        assert (found.names, found.labels.tolist()) == (expected.names, expected.labels.tolist())


def test_numbers_as_people_write_them(tmp_path: Path, write_table: Write) -> None:
    cells = {(0, 1): b'"1,234,567"', (1, 1): b'"12,345.5"', (2, 1): b" 7 ", (3, 1): b"0x1F"}
    with open_table(write_table(tmp_path / "a.csv", [b"BENIGN"] * 4, cells=cells)) as table:
        rows = next(iter(table))
    assert rows.values[:3, 1].tolist() == [1_234_567, 12_345.5, 7]
    assert rows.flows().tolist() == [True, True, True, False]
    text = write_table(tmp_path / "b.csv", [b"BENIGN"] * 2, cells={(0, 1): b"3;5"}).read_text()
    (tmp_path / "c.csv").write_text("sep=;\n" + text.replace(";", "#").replace(",", ";").replace("#", ","))
    with open_table(tmp_path / "c.csv") as table:
        assert next(iter(table)).values[0, 1] == 3.5


def test_what_is_no_flow(tmp_path: Path, write_table: Write, original_header: str) -> None:
    names = original_header.count(",") + 1
    lines = {
        1: original_header.encode(),
        2: b"Total" + b"," * (names - 1),
        3: b"," * (names - 1),
        4: b",".join([b"5"] * 20 + [b""] * (names - 20)),
        5: b",".join([b"5", b""] + [b"5"] * (names - 2)),
        6: b"6 rows",
    }
    with open_table(write_table(tmp_path / "a.csv", [b"BENIGN"] * 8, lines=lines)) as table:
        rows = next(iter(table))
    assert np.flatnonzero(~rows.flows()).tolist() == [1, 2, 3, 4, 5, 6]
