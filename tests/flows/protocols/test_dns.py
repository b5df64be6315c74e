"""DNS messages, beside dpkt's reading of them, and hostile ones."""

import struct

import dpkt
from hypothesis import given
from hypothesis import strategies as st

from mtc.flows.protocols import dns


def _name(name: str) -> bytes:
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".") if label) + b"\0"


def _record(name: bytes, kind: int, data: bytes, ttl: int = 60) -> bytes:
    return name + struct.pack(">HHIH", kind, 1, ttl, len(data)) + data


def _message(questions: list[bytes], answers: list[bytes], flags: int = 0x8180) -> bytes:
    counts = struct.pack(">HHHHHH", 7, flags, len(questions), len(answers), 0, 0)
    return counts + b"".join(question + b"\0\x01\0\x01" for question in questions) + b"".join(answers)


POINTER = b"\xc0\x0c"  # the name of the first question
ANSWER = _message(
    [_name("www.example.org")],
    [
        _record(POINTER, dns.CNAME, b"\x04edge\xc0\x10"),
        _record(b"\x04edge\xc0\x10", dns.A, bytes([192, 0, 2, 1])),
        _record(_name("edge.example.org"), dns.AAAA, bytes(15) + b"\x01", 5),
    ],
)


def test_addresses_have_the_name_that_was_asked_for() -> None:
    message = dns.parse_message(ANSWER)
    assert message is not None
    assert message.complete
    assert message.response
    assert message.questions == (dns.Question("www.example.org", dns.A),)
    assert message.answers[0] == dns.Answer("www.example.org", dns.CNAME, 60, "edge.example.org")
    assert message.addresses() == [("192.0.2.1", "www.example.org"), ("::1", "www.example.org")]


def test_as_dpkt_reads_it() -> None:
    theirs = dpkt.dns.DNS(ANSWER)
    message = dns.parse_message(ANSWER)
    assert message is not None
    assert [answer.name for answer in message.answers] == [record.name for record in theirs.an]
    assert [answer.type for answer in message.answers] == [record.type for record in theirs.an]
    assert [answer.ttl for answer in message.answers] == [record.ttl for record in theirs.an]


def test_aliases_in_a_circle() -> None:
    data = _message(
        [_name("q.org")],
        [
            _record(_name("a.org"), dns.CNAME, _name("b.org")),
            _record(_name("b.org"), dns.CNAME, _name("a.org")),
            _record(_name("a.org"), dns.A, bytes(4)),
        ],
    )
    message = dns.parse_message(data)
    assert message is not None
    assert [address for address, _ in message.addresses()] == ["0.0.0.0"]


def test_pointers_in_a_circle_or_forwards_end_the_message() -> None:
    for pointer in (b"\xc0\x0c", b"\xc0\x40", b"\x01a\xc0\x0c"):
        message = dns.parse_message(_message([pointer], [_record(POINTER, dns.A, bytes(4))]))
        assert message is not None
        assert not message.complete
        assert message.questions == ()


def test_streams() -> None:
    stream = struct.pack(">H", len(ANSWER)) + ANSWER
    assert list(dns.messages_of_stream(stream * 2 + stream[:20])) == [ANSWER, ANSWER, ANSWER[:18]]
    assert list(dns.messages_of_stream(b"\0\0" * 100)) == []


def test_what_is_no_message() -> None:
    assert dns.parse_message(ANSWER[:11]) is None
    assert dns.parse_message(b"\0\1" + b"\xff" * 100) is None


@given(st.integers(0, len(ANSWER) - 1))
def test_a_cut_message_is_the_beginning_of_the_whole(end: int) -> None:
    whole, part = dns.parse_message(ANSWER), dns.parse_message(ANSWER[:end])
    assert whole is not None
    if part is not None:
        assert not part.complete
        assert part.answers == whole.answers[: len(part.answers)]


@given(st.binary(max_size=500), st.integers(0, 40), st.integers(0, 300))
def test_any_bytes(data: bytes, questions: int, answers: int) -> None:
    header = struct.pack(">HHHHHH", 1, 0x8000, questions, answers, 0, 0)
    for candidate in (data, header + data):
        message = dns.parse_message(candidate)
        if message is not None:
            for answer in message.answers:
                assert answer.name.isprintable()
                assert len(answer.name) <= 4 * 255
            assert len(message.addresses()) <= len(message.answers)


def test_the_longest_chains_of_pointers_are_quick() -> None:
    """A name of pointers to pointers in every record: work is bounded by records times hops."""
    chain = b"".join(struct.pack(">H", 0xC000 | (12 + max(0, 2 * (i - 1)))) for i in range(2000))
    data = struct.pack(">HHHHHH", 1, 0x8000, 0, 800, 0, 0) + b"\0" + chain
    message = dns.parse_message(data)
    assert message is not None
    assert len(message.answers) <= dns.MAX_RECORDS
