"""What the records of flows say of protocols and names, end to end."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtc.capture import PacketBatch
from mtc.flows import EVIDENCE, EvidenceCollector, FlowRecords, FlowSettings, FlowTable, SampleStream
from mtc.packets import decode

Maker = Callable[..., PacketBatch]
S = 1_000_000_000


def _rows(path: Path) -> dict[tuple[str, int], dict[str, object]]:
    with SampleStream(path, build=False, names=True) as stream:
        for _ in stream:
            pass
        records = stream.flows.records()
    assert records.evidence is not None
    assert list(records.evidence.row(0)) == list(EVIDENCE)
    return {
        (records.address("src", k), int(records.src_port[k])): records.evidence.row(k)
        for k in range(len(records))
    }


def test_names_of_a_capture(shared_data: Path) -> None:
    rows = _rows(shared_data / "protocol-captures/captures/ntop__nDPI__pcap__instagram.pcap")
    row = rows["192.168.0.103", 56382]
    del row["service"]  # tests/flows/test_services.py
    assert row == {
        "app_proto": "tls",
        "app_proto_by": "payload",
        "server_name": "telegraph-ash.instagram.com",
        "server_name_by": "tls_sni",
        "alpn": None,
        "ja4": "t10d350400_1f24bcc5f17d_a875e5012fde",
    }
    assert rows["192.168.0.103", 38816]["server_name_by"] == "http_host"


def test_a_name_by_a_dns_answer(shared_data: Path) -> None:
    rows = _rows(shared_data / "labelled-captures/captures/ntop__nDPI__pcap__whatsapp_login_chat.pcap")
    chat = rows["192.168.2.4", 49206]
    assert (chat["server_name"], chat["server_name_by"]) == ("e12.whatsapp.net", "dns")


def test_records_without_evidence(shared_data: Path) -> None:
    path = shared_data / "protocol-captures/captures/ntop__nDPI__pcap__instagram.pcap"
    with SampleStream(path, build=False) as stream:
        for _ in stream:
            pass
        assert stream.flows.records().evidence is None


def _records(make_batch: Maker, frames: list[bytes], **options: Any) -> FlowRecords:
    table = FlowTable(evidence=EvidenceCollector(**options))
    batch = make_batch(frames, 101, times=[S * number for number in range(1, len(frames) + 1)])
    table.update(decode(batch), batch)
    return table.records()


@pytest.mark.parametrize(
    "announcement",
    [
        b"227 Entering Passive Mode (10,0,0,2,200,1).\r\n",
        b"229 Entering Extended Passive Mode (|||51201|)\r\n",
    ],
)
def test_data_connections_of_ftp(make_batch: Maker, build: Any, announcement: bytes) -> None:
    there, back = {"src": "10.0.0.1", "dst": "10.0.0.2"}, {"src": "10.0.0.2", "dst": "10.0.0.1"}
    frames = [
        build.ip4(build.tcp(b"220 FTP ready\r\n" + announcement, 21, 40000), 6, **back),
        build.ip4(build.tcp(b"\x89PNG data", 51201, 40001), 6, **back),
        build.ip4(build.tcp(b"\x89PNG data", 51201, 40001), 6, src="10.0.0.3", dst="10.0.0.1"),
        build.ip4(build.tcp(b"\x89PNG data", 51202, 40001), 6, **there),
    ]
    said = _records(make_batch, frames).evidence
    assert said is not None
    assert said.app_proto.tolist() == ["ftp", "ftp-data", None, None]
    assert said.service[1] == {"application": None, "type": "File Transfer", "by": "protocol"}


def _answer(name: bytes, address: bytes, *, ident: int = 1) -> bytes:
    """A DNS answer with one address."""
    kind = b"\0\x01" if len(address) == 4 else b"\0\x1c"
    question = b"".join(bytes([len(label)]) + label for label in name.split(b".")) + b"\0"
    head = ident.to_bytes(2) + b"\x81\x80\0\x01\0\x01\0\0\0\0"
    record = b"\xc0\x0c" + kind + b"\0\x01\0\0\0\x3c" + len(address).to_bytes(2) + address
    return head + question + kind + b"\0\x01" + record


def test_the_newest_answer_before_a_flow_names_its_server(make_batch: Maker, build: Any) -> None:
    server = {"src": "10.0.0.1", "dst": "192.0.2.7"}

    def answer(name: bytes) -> bytes:
        return bytes(
            build.ip4(build.udp(_answer(name, bytes([192, 0, 2, 7])), 53, 40000), 17, dst="10.0.0.1")
        )

    frames = [
        build.ip4(build.tcp(b"x", 40001, 9999), 6, **server),  # before any answer
        answer(b"old.example"),
        answer(b"New.Example"),
        build.ip4(build.tcp(b"x", 40002, 9999), 6, **server),
        answer(b"later.example"),
        build.ip4(build.tcp(b"GET / HTTP/1.1\r\nHost: own.example\r\n\r\n", 40003, 80), 6, **server),
        build.ip4(
            build.tcp(b"x", 9999, 40004), 6, src="192.0.2.7"
        ),  # a server's packet first, at an odd port
    ]
    said = _records(make_batch, frames).evidence
    assert said is not None
    assert list(zip(said.server_name, said.server_name_by, strict=True)) == [
        (None, None),
        (None, None),
        ("new.example", "dns"),
        ("own.example", "http_host"),
        (None, None),
    ]


def test_answers_are_forgotten_oldest_first(make_batch: Maker, build: Any) -> None:
    """More answers than are held: the newest names are still known, and memory is bounded."""
    from mtc.flows import address_names

    names = address_names.AddressNames()
    count = address_names.ANSWERS + 5000
    for begin in range(0, count, 5000):
        frames = [
            build.ip4(build.udp(_answer(b"h%d.example" % n, (1 << 30 | n).to_bytes(4)), 53, 40000), 17)
            for n in range(begin, min(begin + 5000, count))
        ]
        batch = make_batch(frames, 101, times=range(begin + 1, begin + 1 + len(frames)))
        names.learn(decode(batch), batch)
    frames = [
        build.ip4(build.tcp(b"x", 40000, 9999), 6, dst=".".join(map(str, (1 << 30 | n).to_bytes(4))))
        for n in (0, count - 1)
    ]
    table = FlowTable()
    batch = make_batch(frames, 101, times=[1 << 40] * 2)
    table.update(decode(batch), batch)
    assert list(names.names(table._flows[:2])) == [(1, f"h{count - 1}.example")]
    assert len(names._answers) == address_names.ANSWERS


def test_finished_flows_take_their_evidence_along(make_batch: Maker, build: Any) -> None:
    table = FlowTable(FlowSettings(idle_timeout_s=5), evidence=EvidenceCollector())
    finished = []
    for number in range(20):
        frame = build.ip4(build.tcp(b"SSH-2.0-x%d\r\n" % number, 40000 + number, 22), 6)
        batch = make_batch([frame], 101, times=[number * S])
        table.update(decode(batch), batch)
        finished.append(table.take_finished())
    records = FlowRecords.joined([*finished, table.records()])
    assert table.held < 10
    assert records.evidence is not None
    assert records.evidence.app_proto.tolist() == ["ssh"] * 20
    assert records.take(np.array([3])).evidence.app_proto.tolist() == ["ssh"]  # type: ignore[union-attr]


def test_a_full_log_decides_the_oldest(make_batch: Maker, build: Any) -> None:
    """10,000 flows through a log that has room for a few hundred."""
    table = FlowTable(evidence=EvidenceCollector(log_bytes=1 << 17))
    for begin in range(0, 10_000, 2000):
        frames = [
            build.ip4(build.tcp(b"SSH-2.0-x\r\n" + bytes(100), number % 60_000 + 1024, 22), 6)
            for number in range(begin, begin + 2000)
        ]
        batch = make_batch(frames, 101)
        table.update(decode(batch), batch)
    said = table.records().evidence
    assert said is not None
    assert said.app_proto.tolist() == ["ssh"] * 10_000
