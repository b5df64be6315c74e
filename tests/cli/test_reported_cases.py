"""Cases that users of this and of neighbouring tools reported, with their right values.

Each folder of ``../shared/data/reported-cases`` holds inputs and ``expected.json``.
"""

import csv
import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Case = Callable[[str], Path]


@pytest.fixture
def case(shared_data: Path) -> Case:
    """Function: number -> folder of the case; else skip."""

    def find(number: str) -> Path:
        found = sorted((shared_data / "reported-cases").glob(f"{number}-*"))
        if not found:
            pytest.skip(f"no reported case {number} in {shared_data}")
        return found[0]

    return find


def expected(folder: Path) -> Any:
    return json.loads((folder / "expected.json").read_text("utf-8"))["expected"]


def labels(out: str, task: str = "attack") -> list[str | None]:
    rows = [json.loads(line) for line in out.splitlines()]
    return [row[task] and row[task]["label"] for row in rows]


def test_a_name_that_is_no_utf8(
    mtc: Any, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = case("01")
    name = os.fsdecode(bytes.fromhex(json.loads((folder / "expected.json").read_text("utf-8"))["name_hex"]))
    monkeypatch.chdir(tmp_path)
    Path(name).write_bytes((folder / "input.pcap").read_bytes())
    shown = r"lat\xe9in.pcap"
    for command in (
        ("classify", name, "--format", "csv", "--out", "x.csv"),
        ("classify", name, "--out", "x.parquet"),
        ("flows", "--format", "parquet", "--out", "f.parquet", name),
        ("watch", name, "--sink", "file:events.jsonl", "--sink", "parquet:events", "--spool", "spool"),
        ("watch", name),
        ("classify", name, "--json"),
        ("inspect", name),
    ):
        done = mtc(*command)
        assert done.status == 0, done.err
        (done.out + done.err).encode("utf-8")
    rows = list(csv.DictReader(Path("x.csv").read_text("utf-8").splitlines()))
    assert [row["capture"] for row in rows] == [shown]
    event = json.loads(Path("events.jsonl").read_text("utf-8").splitlines()[0])
    assert event["in_iface"] == shown
    Path(f"{name}.csv").write_text(f"capture,kind\n{folder / 'input.pcap'},a\n")
    assert mtc("dataset", "captures", f"{name}.csv", "dataset").status == 0
    assert json.loads(Path("dataset/dataset.json").read_text("utf-8"))["name"] == shown


def test_an_encrypted_archive(mtc: Any, case: Case) -> None:
    done = mtc("inspect", case("14") / "input.zip")
    assert done.status == 2
    assert "encrypted zip member, which needs a password" in done.err
    assert "<ZipInfo" not in done.err


@pytest.mark.parametrize("name", ["comma", "newline", "plain"])
def test_quoted_fields_are_read_as_the_header_is(mtc: Any, case: Case, name: str) -> None:
    folder = case("03")
    done = mtc("classify", folder / f"{name}.csv", "--json", "--no-reject")
    assert done.status == 0
    assert labels(done.out) == expected(folder)["attack"]


@pytest.mark.parametrize("name", ["repeat", "footer"])
def test_a_line_that_is_no_flow_has_no_verdict(mtc: Any, case: Case, name: str) -> None:
    folder = case("04")
    lines = json.loads((folder / "expected.json").read_text("utf-8"))["no_flow"][f"{name}.csv"]
    right: list[str | None] = list(expected(folder)["labels"])
    for line in lines:
        right.insert(line - 1, None)
    done = mtc("classify", folder / f"{name}.csv", "--json", "--no-reject")
    assert labels(done.out) == right
    assert f"lines that are no flow: {len(lines)} " in done.err
    assert done.status == 3


def test_bare_carriage_returns(mtc: Any, case: Case) -> None:
    folder = case("05")
    done = mtc("classify", folder / "input.csv", "--json", "--no-reject")
    assert done.status == 0
    assert labels(done.out) == expected(folder)["either"][0]["attack"]


def test_times_in_seconds_are_converted(mtc: Any, case: Case) -> None:
    folder = case("06")
    right = json.loads((folder / "expected.json").read_text("utf-8"))["attack_of_java_csv"]
    java = mtc("classify", folder / "java.csv", "--json", "--no-reject")
    assert labels(java.out) == right
    assert "seconds" not in java.err
    seconds = mtc("classify", folder / "python-seconds.csv", "--json", "--no-reject")
    assert labels(seconds.out) == right
    assert "times in seconds, converted" in seconds.err
    assert seconds.status == 0


def test_separators_and_encodings(mtc: Any, case: Case, tmp_path: Path) -> None:
    folder = case("07")
    right = expected(folder)["either"][0]
    done = mtc("classify", folder / "features.csv", "--json", "--no-reject")
    assert labels(done.out) == right["features.csv"]
    for source in folder.iterdir():
        (tmp_path / source.name).write_bytes(source.read_bytes())
    text = (folder / "labels.csv").read_text("utf-8")
    for encoding, separator in (("utf-8", ";"), ("utf-16", "\t"), ("utf-16-le", ","), ("utf-8-sig", "|")):
        (tmp_path / "labels.csv").write_text(text.replace(";", separator), encoding)
        out = tmp_path / f"{encoding}-dataset"
        assert mtc("dataset", "captures", tmp_path / "labels.csv", out).status == 0
        tasks = json.loads((out / "dataset.json").read_text("utf-8"))["tasks"]
        assert list(*tasks.values()) == right["labels.csv"]


ONE_FLOW = {
    "08": ("lisp.pcap", "tzsp.pcap"),
    "09": ("149.pcap", "258.pcap"),
    "10": ("juniper.pcap",),
    "11": ("fabricpath-one-way.pcap", "trill.pcap"),
}


@pytest.mark.parametrize(("number", "name"), [(n, name) for n, names in ONE_FLOW.items() for name in names])
def test_what_a_tunnel_or_link_layer_carries(mtc: Any, case: Case, number: str, name: str) -> None:
    folder = case(number)
    right = expected(folder)
    right = right.get("every input", right)
    done = mtc("flows", folder / name, "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(done.out)))
    assert len(rows) == right.pop("flows")
    assert {key: rows[0][key] for key in right} == {key: str(value) for key, value in right.items()}


def test_samples_that_the_snap_length_cuts(mtc: Any, case: Case) -> None:
    folder = case("12")
    right, capture = expected(folder)["cut_samples"], folder / "input.pcap"
    assert json.loads(mtc("inspect", "--json", capture).out)["captures"][0]["cut_samples"] == right
    assert f"{right} of {right} samples are cut by the snap length" in mtc("classify", capture).err
    events = [json.loads(line) for line in mtc("watch", capture).out.splitlines()]
    assert events[-1]["cut_samples"] == right


def test_events_before_1970(mtc: Any, case: Case) -> None:
    folder = case("15")
    done = mtc("watch", folder / "input.pcapng")
    flow = json.loads(done.out.splitlines()[0])["flow"]
    right = expected(folder)
    assert {key: flow[key] for key in right} == right


@pytest.mark.parametrize("name", ["micro.pcap", "nano.pcap"])
def test_times_are_exact(mtc: Any, case: Case, name: str) -> None:
    folder = case("02")
    right = expected(folder)[name]
    done = mtc("flows", folder / name, "--format", "csv")
    row = next(iter(csv.DictReader(io.StringIO(done.out))))
    assert {key: row[key] for key in right} == right
