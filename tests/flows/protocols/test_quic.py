"""QUIC's Initial packets: the RFCs' examples, scrambled CRYPTO frames and hostile bytes."""

import itertools
import random

import pytest
from handshakes import (
    alpn,
    client_hello,
    crypto_frame,
    initial_packet,
    server_name,
    supported_versions,
    varint,
)
from hypothesis import given
from hypothesis import strategies as st

from mtc.flows.protocols import quic, read_names
from mtc.flows.protocols.cursor import Cursor, join_fragments

HELLO = client_hello(
    [
        alpn(b"h3"),
        (51, bytes(1220)),
        supported_versions(0x0304),
        server_name(b"quic.example.org"),
        (57, bytes(60)),
    ]
)
PING, PADDING, ACK = b"\x01", b"\0" * 50, b"\x02\x05\x00\x01\x00\x02\x03"


def test_keys_of_rfc_9001_appendix_a_and_rfc_9369_appendix_a() -> None:
    origin = bytes.fromhex("8394c8f03e515708")
    key, iv, header_key = quic._client_keys(quic._VERSIONS[1], origin)
    assert key.hex() == "1f369613dd76d5467730efcbe3b1a22d"
    assert iv.hex() == "fa044b2f42a3fd3b46fb255c"
    assert header_key.hex() == "9f50449e04a0e810283a1e9933adedd2"
    key, iv, header_key = quic._client_keys(quic._VERSIONS[0x6B3343CF], origin)
    assert key.hex() == "8b1a0bc121284290a29e0971b5cd045d"
    assert iv.hex() == "91f73e2351d8fa91660e909f"
    assert header_key.hex() == "45b95e15235d6f45a6b19cbcb0294ba9"


@pytest.mark.parametrize("version", [1, 0x6B3343CF])
def test_a_hello_in_one_packet(version: int) -> None:
    initial = quic.read_client_initial([initial_packet(crypto_frame(0, HELLO), version=version)])
    assert initial is not None
    assert (initial.server_name, initial.version) == ("quic.example.org", version)
    assert initial.hello is not None
    assert initial.hello.complete


@given(
    st.randoms(use_true_random=False), st.integers(1, 40), st.integers(1, 5), st.sampled_from([1, 0x6B3343CF])
)
def test_scrambled_frames(draw: random.Random, pieces: int, datagrams: int, version: int) -> None:
    cuts = sorted({0, len(HELLO), *(draw.randrange(len(HELLO)) for _ in range(pieces))})
    frames = [crypto_frame(a, HELLO[a:b]) for a, b in itertools.pairwise(cuts)]
    frames += [PING, PADDING, ACK, frames[0]]
    draw.shuffle(frames)
    packets = [
        initial_packet(b"".join(frames[number::datagrams]) + PADDING, number, version)
        for number in range(datagrams)
    ]
    draw.shuffle(packets)
    middle = len(packets) // 2
    names = read_names("udp", [b"".join(packets[:middle]), *packets[middle:], packets[0]], [])
    assert (names.server_name, names.server_name_by) == ("quic.example.org", "quic_sni")
    assert names.alpn == ("h3",)
    assert names.ja4 is not None
    assert names.ja4.startswith("q13d0205h3_")


def test_the_name_of_quic_is_marked_as_such_with_ech_too() -> None:
    hello = client_hello([server_name(b"quic.example.org"), (0xFE0D, bytes(200))])
    names = read_names("udp", [initial_packet(crypto_frame(0, hello))], [])
    assert (names.server_name, names.server_name_by) == ("quic.example.org", "quic_sni")


def test_ten_thousand_tiny_fragments() -> None:
    hello = client_hello([(21, bytes(9800)), server_name(b"tiny.example.org")])
    frames = [crypto_frame(at, hello[at : at + 1]) for at in range(len(hello))]
    random.Random(0).shuffle(frames)
    packets = [initial_packet(b"".join(frames[at : at + 200]), at) for at in range(0, len(frames), 200)]
    initial = quic.read_client_initial(packets)
    assert initial is not None
    assert initial.server_name == "tiny.example.org"


def test_another_connection_id_with_the_keys_of_the_first() -> None:
    first = initial_packet(crypto_frame(0, HELLO[:700]))
    other = initial_packet(crypto_frame(700, HELLO[700:]), 1, destination=b"another!")
    initial = quic.read_client_initial([first, other])
    assert initial is not None
    assert initial.hello is not None
    assert not initial.hello.complete  # other keys: a connection of its own
    assert quic.read_client_initial([b"\xff" * 100, first[:30], first]) is not None


def test_a_packet_that_the_capture_cut_off() -> None:
    hello = client_hello([server_name(b"cut.example.org"), (21, bytes(900))])
    initial = quic.read_client_initial([initial_packet(crypto_frame(0, hello))[:300]])
    assert initial is not None
    assert initial.server_name == "cut.example.org"
    assert initial.hello is not None
    assert not initial.hello.complete


def test_a_packet_with_a_wrong_tag_is_not_used() -> None:
    packet = bytearray(initial_packet(crypto_frame(0, HELLO)))
    packet[-1] ^= 1
    assert quic.read_client_initial([bytes(packet)]) is None


def test_the_chlo_of_google_before_tls() -> None:
    values = b"\0" * 10 + b"old.example.org"
    tags = b"PAD\0" + (10).to_bytes(4, "little") + b"SNI\0" + len(values).to_bytes(4, "little")
    chlo = b"CHLO\x02\0\0\0" + tags + values
    for packet in (
        b"\x0d" + bytes(8) + b"Q043\x01" + bytes(16) + chlo,
        b"\xc3Q046\x50" + bytes(8) + bytes(4) + bytes(12) + chlo,
    ):
        initial = quic.read_client_initial([packet])
        assert initial is not None
        assert initial.server_name == "old.example.org"
        assert initial.hello is None
        assert initial.version_name in ("gQUIC Q043", "gQUIC Q046")


@given(st.binary(max_size=600), st.integers(0, 1500), st.integers(0, 1))
def test_frames_of_any_bytes(noise: bytes, at: int, end: int) -> None:
    """Frames are read after decryption, so hostile ones need an attacker that encrypts: any client."""
    payload = crypto_frame(0, HELLO)[:at] + noise
    initial = quic.read_client_initial([initial_packet(payload + bytes(140))[: -end * 100 or None]])
    assert initial is not None
    assert initial.server_name is None or initial.server_name.isprintable()


@given(st.lists(st.binary(max_size=100).map(lambda tail: b"\xc3\0\0\0\x01" + tail), max_size=5))
def test_packets_of_any_bytes(datagrams: list[bytes]) -> None:
    """Nobody but who knows the key derived from the packet makes one that holds a handshake."""
    initial = quic.read_client_initial(datagrams)
    assert initial is None or (initial.server_name, initial.hello) == (None, None)


@given(st.lists(st.tuples(st.integers(0, 60), st.binary(max_size=20)), max_size=12))
def test_joined_fragments_end_at_the_first_gap(fragments: list[tuple[int, bytes]]) -> None:
    joined = join_fragments(fragments)
    covered = {offset + at for offset, data in fragments for at in range(len(data))}
    assert len(joined) == next(at for at in range(100) if at not in covered)
    for at, byte in enumerate(joined):
        assert byte in {data[at - offset] for offset, data in fragments if offset <= at < offset + len(data)}


@given(st.integers(0, (1 << 62) - 1))
def test_varint(value: int) -> None:
    assert Cursor(varint(value)).varint() == value
