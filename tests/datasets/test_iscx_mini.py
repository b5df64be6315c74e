"""The dataset of the real captures against a count that shares no code with it (dpkt)."""

import csv
import struct
from collections import Counter
from pathlib import Path

import dpkt
import numpy as np
import pytest

from mtc.datasets import PARTS, Dataset, DatasetInfo, build_iscx

SERVICE_UDP = {53, 5353, 5355, 137, 138, 1900, 123, 67, 68, 546, 547}
SERVICE_TCP = {53}


@pytest.fixture(scope="module")
def folder(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("datasets") / "iscx-mini"
    build_iscx(shared_data / "iscx-mini", out)
    return out


@pytest.fixture(scope="module")
def counted(shared_data: Path) -> dict[str, Counter[tuple[object, ...]]]:
    """Capture name -> five-tuple, order of its ends forgotten -> packets that count."""
    flows = {}
    for path in sorted((shared_data / "iscx-mini").glob("*.pcap")):
        with path.open("rb") as file:
            reader = dpkt.pcap.Reader(file)
            raw = reader.datalink() == 101
            flows[path.stem] = Counter(filter(None, (counts(bytes(frame), raw) for _, frame in reader)))
    return flows


def counts(frame: bytes, raw: bool) -> tuple[object, ...] | None:
    """Five-tuple of a packet that becomes a sample by docs/paper.md, else None."""
    if not raw:
        if len(frame) < 14 or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
            return None
        frame = frame[14:]
    if not frame:
        return None
    if frame[0] >> 4 == 4:
        if len(frame) < 20:
            return None
        header = dpkt.ip.IP(frame[:20])
        start, protocol, length = header.hl * 4, header.p, header.len or len(frame)
        if header.mf or header.offset:
            return None
    else:
        if len(frame) < 40:
            return None
        six = struct.unpack_from("!IHBB16s16s", frame)
        start, protocol, length = 40, six[2], 40 + six[1]
        header = type("Six", (), {"src": six[4], "dst": six[5]})
        while protocol in (0, 43, 60):
            if len(frame) < start + 8:
                return None
            protocol, start = frame[start], start + 8 + 8 * frame[start + 1]
    frame = frame[:length]
    if protocol == 17 and len(frame) >= start + 8:
        sport, dport = struct.unpack_from("!HH", frame, start)
        payload, services = start + 8, SERVICE_UDP
    elif protocol == 6 and len(frame) >= start + 20:
        sport, dport = struct.unpack_from("!HH", frame, start)
        payload, services = start + (frame[start + 12] >> 4) * 4, SERVICE_TCP
    else:
        return None
    if {sport, dport} & services or len(frame) <= payload:
        return None
    return (protocol, *sorted([(header.src, sport), (header.dst, dport)]))


def test_counts_by_class_equal_an_independent_count(
    folder: Path, counted: dict[str, Counter[tuple[object, ...]]], shared_data: Path
) -> None:
    info = DatasetInfo.read(folder)
    manifest = (shared_data / "iscx-mini" / "manifest.csv").read_text()
    rows = list(csv.DictReader(manifest.splitlines()))
    families = {"chat": "Chat", "email": "Email", "file-transfer": "File Transfer"}
    families |= {"streaming": "Streaming", "torrent": "Torrent", "voip": "VoIP"}
    expected: dict[str, Counter[str]] = {task: Counter() for task in info.tasks}
    read = Counter[str]()
    for row in rows:
        name = row["capture"].removesuffix(".pcap")
        samples, family = counted[name].total(), families[row["service"]]
        assert {c.capture: c.samples for c in info.captures}[name] == samples, name
        expected["application"][row["application"]] += samples
        expected["traffic"][("VPN " if row["vpn"] == "1" else "") + family] += samples
        expected["auxiliary"]["All " + family] += samples
        read[row["application"]] += int(row["packets"])
    for task, labels in info.counts.items():
        assert {label: n.kept for label, n in labels.items() if n.kept} == dict(expected[task])
        assert all(n.kept == n.samples for n in labels.values())
    assert {label: n.packets for label, n in info.counts["application"].items() if n.packets} == dict(read)
    assert info.packets == 126_001 == info.rows + sum(info.left_out.values())
    assert info.absent == {"application": ("Gmail", "SCP", "Tor"), "traffic": (), "auxiliary": ()}


def test_flows_equal_an_independent_count(
    folder: Path, counted: dict[str, Counter[tuple[object, ...]]]
) -> None:
    info = DatasetInfo.read(folder)
    labels = {capture.capture: capture.labels["application"] for capture in info.captures}
    captures: dict[tuple[object, ...], set[str]] = {}
    for capture, flows in counted.items():
        for flow in flows:
            captures.setdefault(flow, set()).add(capture)
    assert info.flows.with_rows == len(captures)
    assert info.flows.in_several_captures == sum(len(names) > 1 for names in captures.values())
    assert info.flows.under_different_labels == sum(
        len({labels[name] for name in names}) > 1 for names in captures.values()
    )


def test_flow_split_shares_no_flow_and_packet_split_shares_many(folder: Path) -> None:
    dataset = Dataset.open(folder)
    for split, honest in (("flow", True), ("packet", False), ("capture", True), ("time", True)):
        parts = {part: dataset.part(split, part) for part in PARTS}
        flows = {part: set(samples.flow.tolist()) for part, samples in parts.items()}
        shared = {f for f in set.union(*flows.values()) if sum(f in have for have in flows.values()) > 1}
        rows = np.concatenate([samples.row for samples in parts.values()])
        assert np.array_equal(np.sort(rows), np.arange(len(dataset)))
        info = dataset.info.splits[split]
        assert info.leakage.shared_flows == len(shared)
        assert {part: len(samples) for part, samples in parts.items()} == info.rows
        tolerance = {"capture": 0.06, "time": 0.02}.get(split, 0.005)
        for share, part in zip((0.64, 0.16, 0.20), PARTS, strict=True):
            assert abs(info.rows[part] / len(dataset) - share) < tolerance
        assert (not shared) == honest
        contents = {part: {row.tobytes() for row in s.dense()} for part, s in parts.items()}
        repeated = [row.tobytes() in contents["train"] for row in parts["test"].dense()]
        assert info.leakage.test_rows_equal_to_trained == sum(repeated)
    assert dataset.info.splits["packet"].leakage.shared_flows > 2_000


def test_classes_of_few_captures_are_only_trained_by_capture(folder: Path) -> None:
    info = DatasetInfo.read(folder)
    split = info.splits["capture"]
    assert split.leakage.shared_captures == 0
    captures = {
        label: sum(c.labels["application"] == label and c.kept > 0 for c in info.captures)
        for label in info.tasks["application"]
    }
    few = {label for label, n in captures.items() if 0 < n < 3}
    assert set(split.only_trained["application"]) == few == {"FTPS", "SFTP", "Torrent", "Voipbuster"}
    assert info.splits["flow"].only_trained == dict.fromkeys(info.tasks, ())


def test_every_class_reaches_every_part_of_the_flow_split(folder: Path) -> None:
    info = DatasetInfo.read(folder)
    for task, labels in info.splits["flow"].counts.items():
        for label, parts in labels.items():
            if sum(parts.values()):
                assert all(parts.values()), (task, label, parts)


def test_labels_may_be_missing(folder: Path) -> None:
    dataset = Dataset.open(folder)
    samples = dataset.part("flow", "all")
    index = [capture.capture for capture in dataset.info.captures].index("vpn_voip_unattributed")
    of_capture = samples.capture == index
    assert of_capture.sum() == dataset.info.captures[index].kept > 0
    assert set(samples.labels["application"][of_capture]) == {-1}
    assert set(samples.labels["traffic"][of_capture]) == {dataset.tasks["traffic"].index("VPN VoIP")}
    assert (samples.labels["application"][~of_capture] >= 0).all()


def test_same_bytes_whatever_the_order_of_reading(folder: Path, shared_data: Path, tmp_path: Path) -> None:
    captures = sorted((shared_data / "iscx-mini").glob("*.pcap"), reverse=True)
    build_iscx(captures, tmp_path / "again")
    assert (tmp_path / "again/packets.parquet").read_bytes() == (folder / "packets.parquet").read_bytes()
    build_iscx(shared_data / "iscx-mini", tmp_path / "third")
    for file in ("packets.parquet", "dataset.json"):
        assert (tmp_path / "third" / file).read_bytes() == (folder / file).read_bytes()
    other = build_iscx(shared_data / "iscx-mini", tmp_path / "seeded", seed=2)
    assert other.hash != DatasetInfo.read(folder).hash
