import csv
import io
import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import communityid
import numpy as np
import pandas as pd
import pytest

import mtc as package
from mtc.tasks import ISCX

FIELDS = [
    *("flow", "protocol", "src", "src_port", "dst", "dst_port", "start", "end", "packets", "bytes"),
    *("samples", "community_id", "capture"),
]
EVIDENCE = ["app_proto", "app_proto_by", "server_name", "server_name_by", "alpn", "ja4", "service"]


@pytest.fixture
def classify(mtc: Callable, tiny_model: Path) -> Callable:
    return lambda *arguments: mtc("classify", *arguments, "--model", tiny_model)


def _rows(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def test_json_lines(classify: Callable, capture: Path) -> None:
    result = classify(capture, "--format", "json")
    assert result.status == 0
    first, second = _rows(result.out)
    assert list(first) == [*FIELDS, *EVIDENCE, *ISCX, "vpn", "conflict", "verdict"]
    assert [first[name] for name in EVIDENCE] == [None] * 7
    assert list(first["verdict"]) == ["application", "type", "by", "confidence"]
    assert second["verdict"] == {"application": None, "type": None, "by": "unknown", "confidence": None}
    assert {name: first[name] for name in FIELDS} == {
        "flow": 1,
        "protocol": "tcp",
        "src": "192.0.2.1",
        "src_port": 1234,
        "dst": "192.0.2.2",
        "dst_port": 443,
        "start": 1000.0,
        "end": 1001.0,
        "packets": 2,
        "bytes": 2 * 54 + 5 + 14,
        "samples": 2,
        "community_id": communityid.CommunityID().calc(
            communityid.FlowTuple.make_tcp("192.0.2.1", "192.0.2.2", 1234, 443)
        ),
        "capture": str(capture),
    }
    for task, labels in ISCX.items():
        verdict = first[task]
        assert list(verdict) == ["label", "confidence", "probabilities"]
        assert list(verdict["probabilities"]) == list(labels)
        assert sum(verdict["probabilities"].values()) == pytest.approx(1, abs=1e-4)
        assert verdict["confidence"] == max(verdict["probabilities"].values())
        assert verdict["confidence"] == verdict["probabilities"][verdict["label"]]
    assert [first["application"]["probabilities"][label] for label in ("Gmail", "SCP", "Tor")] == [0, 0, 0]
    assert (second["flow"], second["packets"], second["samples"]) == (2, 1, 0)
    assert [second[task] for task in (*ISCX, "vpn", "conflict")] == [None] * 5
    over_vpn = sum(p for label, p in first["traffic"]["probabilities"].items() if label.startswith("VPN"))
    assert first["vpn"]["probabilities"]["VPN"] == pytest.approx(over_vpn, abs=1e-5)
    assert first["vpn"]["label"] == ("VPN" if over_vpn >= 0.5 else "nonVPN")


def test_flows_of_several_captures_are_numbered_on(classify: Callable, capture: Path) -> None:
    rows = _rows(classify(capture, capture, "--json").out)
    assert [row["flow"] for row in rows] == [1, 2, 3, 4]
    assert rows[0]["application"] == rows[2]["application"]


def test_per_packet(classify: Callable, short_capture: Path) -> None:
    rows = _rows(classify(short_capture, "--per", "packet", "--format", "json").out)
    samples = package.read_samples(short_capture)
    assert [row["packet"] for row in rows] == samples.headers["packet"].tolist()
    assert [row["flow"] - 1 for row in rows] == samples.headers["flow"].tolist()
    assert [row["src_port"] for row in rows] == samples.headers["src_port"].tolist()
    assert list(rows[0]) == ["flow", "packet", *FIELDS[1:], *ISCX, "vpn", "conflict"]
    flows = _rows(classify(short_capture, "--format", "json").out)
    assert {row["community_id"] for row in rows} == {row["community_id"] for row in flows}
    for flow in flows:
        assert sum(row["flow"] == flow["flow"] for row in rows) == flow["samples"]


def test_per_packet_numbers_agree_with_predict(
    classify: Callable, short_capture: Path, tiny_model: Path
) -> None:
    rows = _rows(classify(short_capture, "--per", "packet", "--format", "json").out)
    expected = package.Classifier.load(tiny_model).predict(package.read_samples(short_capture).samples)
    for task, values in expected.items():
        found = np.array([list(row[task]["probabilities"].values()) for row in rows])
        np.testing.assert_allclose(found, values, atol=2e-3)


def test_csv_and_parquet_say_the_same_as_json(
    classify: Callable, short_capture: Path, tmp_path: Path
) -> None:
    rows = _rows(classify(short_capture, "--format", "json").out)
    table = list(csv.DictReader(io.StringIO(classify(short_capture, "--format", "csv").out)))
    out = tmp_path / "verdicts.parquet"
    assert classify(short_capture, "--out", out).status == 0
    frame = pd.read_parquet(out)
    assert len(rows) == len(table) == len(frame)
    for i, row in enumerate(rows):
        for name in FIELDS:
            if name in ("start", "end"):
                assert table[i][name] == f"{frame[name][i].value // 10**9}.{frame[name][i].value % 10**9:09d}"
                assert row[name] == frame[name][i].value / 10**9
                continue
            assert table[i][name] == str(row[name])
            assert frame[name][i] == row[name]
        for task in (*ISCX, "vpn"):
            assert table[i][task] == frame[task][i] == row[task]["label"]
            assert float(table[i][f"{task}_confidence"]) == row[task]["confidence"]
            assert frame[f"{task}_probabilities"][i] == row[task]["probabilities"]


@pytest.fixture
def contradicting(tiny_model: Path, capture: Path, mtc: Callable, tmp_path: Path) -> Path:
    """The tiny model, taught that what it says of the capture never stands together."""
    row = _rows(mtc("classify", capture, "--json", "--model", tiny_model).out)[0]
    folder = tmp_path / "contradicting"
    shutil.copytree(tiny_model, folder)
    card = json.loads((folder / "model.json").read_text())
    said = {task: row[task]["label"] for task in ISCX}
    others = {task: next(label for label in ISCX[task] if label != said[task]) for task in ISCX}
    together = {said["application"]: [others["traffic"]], others["application"]: [said["traffic"]]}
    card["pairs"] = {"application": {"traffic": together}}
    (folder / "model.json").write_text(json.dumps(card))
    return folder


def test_conflicts_are_told_in_every_format(
    mtc: Callable, contradicting: Path, capture: Path, tmp_path: Path
) -> None:
    def classify(*arguments: object) -> str:
        result = mtc("classify", capture, "--model", contradicting, *arguments)
        assert result.status == 0
        assert "conflicting labels of the model: application/traffic 1" in result.err
        return result.out

    assert [row["conflict"] for row in _rows(classify("--json"))] == [[["application", "traffic"]], None]
    table = list(csv.DictReader(io.StringIO(classify("--format", "csv"))))
    assert [row["conflict"] for row in table] == ["application/traffic", ""]
    classify("--out", tmp_path / "verdicts.parquet")
    frame = pd.read_parquet(tmp_path / "verdicts.parquet")
    assert [str(value) for value in frame["conflict"].fillna("-")] == ["application/traffic", "-"]
    shown = classify("--per", "packet")
    assert "! conflicting labels" in shown
    assert shown.count("!") >= 3  # two labels of a packet, and what the mark means
    flow = _rows(classify("--json"))[0]
    assert flow["verdict"]["by"] == "unknown"  # labels that conflict decide nothing


def test_table_names_flows_and_labels(classify: Callable, capture: Path) -> None:
    result = classify(capture)
    row = _rows(classify(capture, "--json").out)[0]
    assert "192.0.2.1:1234" in result.out
    assert row["verdict"]["by"] == "model"
    assert f"{row['verdict']['application']}, {row['verdict']['type']}" in result.out
    assert "2 flows classified from 3 packets (skipped: no_payload 1)" in result.err


def test_output_is_not_overwritten_without_force(classify: Callable, capture: Path, tmp_path: Path) -> None:
    out = tmp_path / "verdicts.json"
    out.write_text("mine")
    refused = classify(capture, "--out", out)
    assert (refused.status, out.read_text()) == (2, "mine")
    assert refused.err.count("\n") == 1
    assert classify(capture, "--out", out, "--force").status == 0
    assert len(_rows(out.read_text())) == 2
    assert list(tmp_path.iterdir()) == [out]


def test_a_failed_run_leaves_no_output(classify: Callable, tmp_path: Path) -> None:
    result = classify(tmp_path / "missing.pcap", "--out", tmp_path / "verdicts.csv")
    assert result.status == 2
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["--format", "parquet"],
        ["--out", "a.txt"],
        ["--format", "table", "--out", "a.csv"],
        ["--out", "nowhere/a.csv"],
        ["--packets", "0"],
        ["--early", "1.5"],
        ["--early", "0"],
        ["--per", "packet", "--packets", "3"],
        ["--per", "packet", "--early", "0.9"],
        ["--per", "packet", "--by", "host"],
        ["--from", "yesterday"],
        ["--from", "20", "--to", "10"],
        ["--filter", "tcp prt 443"],
        ["--workers", "0"],
    ],
    ids=" ".join,
)
def test_senseless_combinations(classify: Callable, capture: Path, arguments: list[str]) -> None:
    result = classify(capture, *arguments)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith("mtc: ")
    assert result.err.count("\n") == 1


def test_few_packets_and_early_decisions(classify: Callable, short_capture: Path) -> None:
    samples = sum(row["samples"] for row in _rows(classify(short_capture, "--json").out))
    flows = len(_rows(classify(short_capture, "--json").out))
    few = classify(short_capture, "--json", "--packets", "1")
    assert f"{flows} of {samples} samples used by the model" in few.err
    early = classify(
        short_capture, "--json", "--early", "0.05"
    )  # an untrained model is as sure as that at once
    assert f"{flows} of {samples} samples used by the model" in early.err
    assert [row["traffic"] for row in _rows(few.out)] == [row["traffic"] for row in _rows(early.out)]


def test_only_packets_of_a_filter_and_a_window(classify: Callable, capture: Path) -> None:
    result = classify(capture, "--json", "--from", "1970-01-01T00:16:41", "--to", "1002")
    assert [row["packets"] for row in _rows(result.out)] == [1]
    assert "(skipped: outside_window 2)" in result.err
    pytest.importorskip("pcapy", reason="filters need pcapy-ng, which is not installed")
    result = classify(capture, "--json", "--filter", "tcp port 22")
    assert [(row["dst_port"], row["packets"]) for row in _rows(result.out)] == [(22, 1)]
    assert "filtered 2" in result.err
    packets = _rows(classify(capture, "--json", "--per", "packet", "--filter", "tcp src port 443").out)
    assert [row["packet"] for row in packets] == [2]  # its number in the file


def test_hosts(classify: Callable, short_capture: Path, tmp_path: Path) -> None:
    rows = _rows(classify(short_capture, "--by", "host", "--json").out)
    assert list(rows[0])[:5] == ["host", "names", "flows", "flows_begun", "packets"]
    assert list(rows[0]["verdict"]) == ["label", "share", "flows", "bytes"]
    assert list(rows[0]["traffic"]) == ["label", "share", "flows", "bytes"]
    table = list(csv.DictReader(io.StringIO(classify(short_capture, "--by", "host", "--format", "csv").out)))
    classify(short_capture, "--by", "host", "--out", tmp_path / "hosts.parquet")
    frame = pd.read_parquet(tmp_path / "hosts.parquet")
    assert len(rows) == len(table) == len(frame)
    for i, row in enumerate(rows):
        assert table[i]["host"] == frame["host"][i] == row["host"]
        assert int(table[i]["bytes_sent"]) == frame["bytes_sent"][i] == row["bytes_sent"]
        assert table[i]["traffic"] == frame["traffic"][i] == row["traffic"]["label"]
        assert (
            json.loads(table[i]["traffic_bytes"])
            == dict(frame["traffic_bytes"][i])
            == row["traffic"]["bytes"]
        )
    shown = classify(short_capture, "--by", "host")
    assert rows[0]["host"] in shown.out
    assert "flows classified" in shown.err


def test_options_for_captures_are_refused_for_tables(
    mtc: Callable, write_table: Callable, tmp_path: Path
) -> None:
    table = write_table(tmp_path / "flows.csv", [b"BENIGN"])
    for arguments in (["--packets", "3"], ["--by", "host"], ["--workers", "2"], ["--from", "3"]):
        result = mtc("classify", table, "--model", "cicids2017", *arguments)
        assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)


def _damaged(whole: bytes, name: str) -> bytes:
    first = 24 + 16 + struct.unpack_from("<I", whole, 32)[0]
    return {
        "empty": b"",
        "text": b"No capture, just a line of text.\n",
        "cut in the file header": whole[:10],
        "cut in the first packet": whole[: 24 + 16 + 20],
        "cut in a record header": whole[: first + 7],
        "cut in a packet": whole[: first + 16 + 20],
        "absurd record length": whole[: first + 8] + b"\xff\xff\xff\x7f" * 2 + whole[first + 16 :],
    }[name]


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("empty", 2),
        ("text", 2),
        ("cut in the file header", 2),
        ("cut in the first packet", 2),
        ("cut in a record header", 3),
        ("cut in a packet", 3),
        ("absurd record length", 3),
    ],
)
@pytest.mark.parametrize("command", ["classify", "inspect"])
def test_wrong_input(
    mtc: Callable,
    classify: Callable,
    capture: Path,
    tmp_path: Path,
    command: str,
    name: str,
    status: int,
) -> None:
    path = tmp_path / "wrong.pcap"
    path.write_bytes(_damaged(capture.read_bytes(), name))
    result = classify(path, "--json") if command == "classify" else mtc("inspect", path, "--json")
    assert result.status == status
    messages = [line for line in result.err.splitlines() if line.startswith("mtc: ")]
    assert len(messages) == 1
    assert str(path) in messages[0]
    assert "Traceback" not in result.err
    if status == 3:
        assert str(24 + 16 + 59) in messages[0]  # where the second record begins
        if command == "classify":
            assert [row["packets"] for row in _rows(result.out)] == [1]
    elif command == "classify":
        assert (result.out, result.err) == ("", messages[0] + "\n")


def test_missing_beside_readable_is_status_3(classify: Callable, capture: Path, tmp_path: Path) -> None:
    result = classify(tmp_path / "missing.pcap", capture, "--json")
    assert result.status == 3
    assert len(_rows(result.out)) == 2
    assert "missing.pcap" in result.err


def test_nothing_readable_tells_every_input(classify: Callable, tmp_path: Path) -> None:
    result = classify(tmp_path / "a.pcap", tmp_path / "b.pcap")
    assert (result.status, result.out) == (2, "")
    assert [line.split(":")[1].strip() for line in result.err.splitlines()] == [
        str(tmp_path / "a.pcap"),
        str(tmp_path / "b.pcap"),
    ]


def test_a_capture_without_records_is_fine(classify: Callable, tmp_path: Path, write_pcap: Callable) -> None:
    result = classify(write_pcap(tmp_path / "none.pcap", []), "--json")
    assert (result.status, result.out) == (0, "")


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:1000])


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: shutil.rmtree(folder),
        lambda folder: (folder / "model.json").unlink(),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "model.json").write_text("{"),
        lambda folder: (folder / "model.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "model.json").write_text("[]"),
        lambda folder: _truncate(folder / "model.safetensors"),
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "model.safetensors").write_bytes(b"\xff" * 64),
    ],
)
def test_unreadable_model(
    mtc: Callable, tiny_model: Path, capture: Path, tmp_path: Path, spoil: Callable[[Path], object]
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    spoil(folder)
    result = mtc("classify", capture, "--model", folder)
    assert (result.status, result.out) == (2, "")
    assert result.err.startswith(f"mtc: {folder}")
    assert result.err.count("\n") == 1


def test_labels_below_the_threshold_are_unknown_by_default(
    mtc: Callable, tiny_model: Path, capture: Path, tmp_path: Path
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    card = json.loads((model / "model.json").read_text())
    threshold = {"packet": 0.0, "flow": 1.1}
    card["reject"] = {
        task: {kind: {"score": "probability", "threshold": value} for kind, value in threshold.items()}
        for task in ISCX
    }
    (model / "model.json").write_text(json.dumps(card))
    arguments = (capture, "--format", "json", "--model", model)
    plain, rejected = (_rows(mtc("classify", *arguments, *more).out) for more in (("--no-reject",), ()))
    assert {row["verdict"]["by"] for row in rejected} == {"unknown"}
    assert plain[0]["verdict"]["by"] == "model"
    judged = [row["traffic"] for row in rejected if row["traffic"] is not None]
    assert judged
    assert all(task["label"] == "unknown" for task in judged)
    assert [row["flow"] for row in rejected] == [row["flow"] for row in plain]
    before = [row["traffic"]["probabilities"] for row in plain if row["traffic"] is not None]
    assert [task["probabilities"] for task in judged] == before  # still there to be looked at
    packets = _rows(mtc("classify", *arguments, "--per", "packet").out)
    assert packets
    assert all(row["traffic"]["label"] in ISCX["traffic"] for row in packets)

    card["reject"]["traffic"]["flow"]["score"] = "energy"
    (model / "model.json").write_text(json.dumps(card))
    by_energy = _rows(mtc("classify", *arguments).out)[0]["traffic"]
    assert by_energy["probabilities"] == before[0]
    unlike = mtc("classify", *arguments)
    assert "100 % of 1 flow is unlike what" in unlike.err
