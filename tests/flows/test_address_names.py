"""Names by DNS answers: messages with aliases and compression, beside dpkt, and hostile ones."""

import struct
from ipaddress import IPv4Address
from typing import Any

import dpkt
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtc.flows.address_names import AddressNames
from mtc.flows.table import FlowTable
from mtc.packets import decode

SAME_FIXTURES = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
A, CNAME, AAAA = 1, 5, 28
POINTER = b"\xc0\x0c"  # to the name of the question
labels = st.text("abcXYZ-_019", min_size=1, max_size=20)
domains = st.lists(labels, min_size=1, max_size=5).map(".".join)
addresses = st.lists(
    st.integers(1, 0xFFFFFF).map(lambda low: 0x0B000000 | low), min_size=1, max_size=5, unique=True
)


def _name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"


def _record(name: bytes, kind: int, data: bytes) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, 60, len(data)) + data


def _message(question: bytes, answers: list[bytes]) -> bytes:
    head = struct.pack(">HHHHHH", 7, 0x8180, 1, len(answers), 0, 0)
    return head + question + b"\0\x01\0\x01" + b"".join(answers)


def _learned(make_batch: Any, build: Any, message: bytes, servers: list[int]) -> dict[int, str]:
    """Names of the servers of flows after one message."""
    frames = [build.ip4(build.udp(message, 53, 40000), 17)]
    frames += [build.ip4(build.tcp(b"x", 40000, 9999), 6, dst=str(IPv4Address(server))) for server in servers]
    batch = make_batch(frames, 101, times=range(1, 1 + len(frames)))
    headers = decode(batch)
    names, table = AddressNames(), FlowTable()
    names.learn(headers, batch)
    table.update(headers, batch)
    flows = table._flows[1 : 1 + len(servers)]
    return {servers[at]: name for at, name in names.names(flows)}


@given(domains, domains, addresses, st.booleans())
@SAME_FIXTURES
def test_the_name_that_was_asked_for(
    make_batch: Any, build: Any, asked: str, alias: str, servers: list[int], compressed: bool
) -> None:
    owner = POINTER if compressed else _name(asked)
    answers = [_record(owner, CNAME, _name(alias))]
    answers += [_record(_name(alias), A, server.to_bytes(4, "big")) for server in servers]
    message = _message(_name(asked), answers)
    theirs = dpkt.dns.DNS(message)
    assert theirs.qd[0].name == asked
    found = _learned(make_batch, build, message, servers)
    assert found == {
        int.from_bytes(answer.ip, "big"): asked.lower() for answer in theirs.an if answer.type == A
    }


@given(st.binary(max_size=300), st.integers(0, 3), st.integers(0, 200))
@SAME_FIXTURES
def test_any_bytes(make_batch: Any, build: Any, data: bytes, questions: int, answers: int) -> None:
    head = struct.pack(">HHHHHH", 1, 0x8180, questions, answers, 0, 0)
    for message in (data, head + data, _message(_name("example.org"), [data])):
        for name in _learned(make_batch, build, message, [0x0A000001, 0]).values():
            assert 0 < len(name) <= 255
            assert name.isascii()
            assert name.isprintable()


@given(st.integers(0, 200))
@SAME_FIXTURES
def test_a_cut_message_gives_the_answers_that_it_holds(make_batch: Any, build: Any, end: int) -> None:
    server = 0x0B000001
    whole = _message(_name("example.org"), [_record(POINTER, A, server.to_bytes(4, "big"))])
    found = _learned(make_batch, build, whole[: min(end, len(whole))], [server])
    assert found == ({server: "example.org"} if end >= len(whole) else {})


def test_pointers_in_a_circle_and_long_names_are_no_names(make_batch: Any, build: Any) -> None:
    answer = [_record(POINTER, A, (0x0B000001).to_bytes(4, "big"))]
    long = b"".join(bytes([63]) + b"a" * 63 for _ in range(4)) + b"\0"
    for question in (b"\xc0\x0c", b"\xc0\x40", b"\x01a\xc0\x0c", b"\x3f" + b"\x01" * 63 + b"\0", long, b"\0"):
        assert _learned(make_batch, build, _message(question, answer), [0x0B000001]) == {}
