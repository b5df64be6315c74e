"""Samples of generated packets against the oracle, masks, and the field map."""

import struct
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtc.capture import PacketBatch
from mtc.errors import UsageError
from mtc.packets import REASONS, build_samples, decode, field_names, mask_samples

Maker = Callable[..., PacketBatch]

PORTS = st.sampled_from([53, 67, 123, 137, 443, 546, 1900, 5353, 5355, 40000, 65535])


@st.composite
def packets(draw: st.DrawFn) -> dict[str, Any]:
    return {
        "version": draw(st.sampled_from([4, 6])),
        "transport": draw(st.sampled_from(["tcp", "udp"])),
        "ports": (draw(PORTS), draw(PORTS)),
        "payload": draw(st.binary(max_size=64)) * draw(st.sampled_from([1, 1, 40])),
        "ip_options": 4 * draw(st.integers(0, 10)),
        "tcp_options": 4 * draw(st.integers(0, 10)),
        "extensions": draw(st.lists(st.sampled_from([0, 43, 60, 51]), max_size=3)),
        "tags": draw(st.sampled_from([b"", b"\x81\0\0\5", b"\x88\xa8\0\5\x81\0\0\6"])),
        "padding": draw(st.integers(0, 8)),
        "cut": draw(st.one_of(st.none(), st.integers(0, 120))),
    }


def frame_of(build: Any, recipe: dict[str, Any]) -> bytes:
    sport, dport = recipe["ports"]
    if recipe["transport"] == "tcp":
        protocol, body = 6, build.tcp(recipe["payload"], sport, dport, opts=b"\1" * recipe["tcp_options"])
    else:
        protocol, body = 17, build.udp(recipe["payload"], sport, dport)
    if recipe["version"] == 4:
        packet = build.ip4(body, protocol, opts=b"\1" * recipe["ip_options"])
    else:
        extension, following = b"", protocol
        for kind in recipe["extensions"]:
            length = 0 if kind != 51 else 1
            extension = struct.pack(">BB", following, length) + bytes(6 if kind != 51 else 10) + extension
            following = kind
        packet = build.ip6(body, following, extension=extension)
    frame = build.ether(packet, tags=recipe["tags"]) + b"\xee" * recipe["padding"]
    return frame if recipe["cut"] is None else frame[: recipe["cut"]]


@settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))
@given(recipes=st.lists(packets(), min_size=1, max_size=5))
def test_generated_packets_agree_with_the_oracle(
    make_batch: Maker, build: Any, oracle: ModuleType, recipes: list[dict[str, Any]]
) -> None:
    frames = [frame_of(build, recipe) for recipe in recipes]
    expected = [oracle.sample_of(frame, 1) for frame in frames]
    batch = make_batch(frames, 1)
    h = decode(batch)
    assert [REASONS[r] for r in h.reason] == [reason for reason, _ in expected]
    samples = build_samples(batch, h, h.sample_rows())
    assert samples.tobytes() == b"".join(sample for _, sample in expected)


@pytest.fixture
def four(make_batch: Maker, build: Any) -> tuple[PacketBatch, np.ndarray]:
    """IPv4 TCP, IPv4 UDP, IPv6 TCP, IPv6 UDP, every byte of payload 255."""
    bodies = [(build.tcp(b"\xff" * 2000), 6), (build.udp(b"\xff" * 2000), 17)]
    frames = [build.ip4(body, protocol) for body, protocol in bodies]
    frames += [build.ip6(body, protocol) for body, protocol in bodies]
    batch = make_batch(frames, 101)
    return batch, build_samples(batch, decode(batch), np.arange(4))


def test_long_payload_is_cut(four: tuple[PacketBatch, np.ndarray]) -> None:
    _, samples = four
    assert samples.shape == (4, 1500)
    assert samples.dtype == np.uint8
    assert samples.flags.c_contiguous
    assert (samples[:2, 40:] == 255).all()
    assert (samples[2:, 60:] == 255).all()


def test_addresses_are_never_kept(four: tuple[PacketBatch, np.ndarray]) -> None:
    _, samples = four
    assert not samples[:2, 12:20].any()
    assert not samples[2:, 8:40].any()
    assert np.array_equal(mask_samples(samples, "paper"), samples)


STRICT4 = {*range(4, 6), 8, *range(10, 20), *range(20, 24)}
STRICT = [
    STRICT4 | {*range(24, 32), *range(34, 38)},
    STRICT4 | {26, 27},
    {7, *range(8, 40), *range(40, 44), *range(44, 52), *range(54, 58)},
    {7, *range(8, 40), *range(40, 44), 46, 47},
]


def test_strict_mask_zeroes_exactly_its_fields(four: tuple[PacketBatch, np.ndarray]) -> None:
    _, samples = four
    full = samples.copy()
    full[:, :60] |= 1  # no header byte is 0 by chance
    full[:2, 0], full[2:, 0] = 0x45, 0x61
    full[[0, 1], 9] = full[[2, 3], 6] = [6, 17]
    masked = mask_samples(full, "strict")
    assert full.any(axis=0).all()
    for row in range(4):
        assert set(np.flatnonzero(masked[row] != full[row]).tolist()) == STRICT[row]
        assert not masked[row, sorted(STRICT[row])].any()
    assert np.shares_memory(mask_samples(full, "strict", out=full), full)
    assert np.array_equal(full, masked)


def test_mask_leaves_foreign_bytes_alone() -> None:
    foreign = np.full((3, 1500), 255, np.uint8)
    foreign[1] = 0
    foreign[2, :10] = [0x45, 0, 0, 0, 0, 0, 0, 0, 0, 1]  # ICMP
    assert np.array_equal(mask_samples(foreign, "strict"), foreign)


def test_field_names_say_where_fields_lie() -> None:
    for version, protocol in ((4, 6), (4, 17), (6, 6), (6, 17)):
        names = field_names(version, protocol)
        assert len(names) == 1500
        header = (20 if version == 4 else 40) + 20
        assert names[header:] == ("payload",) * (1500 - header)
        assert "payload" not in names[:header]
    assert field_names(4, 6)[8:10] == ("ip_ttl", "ip_protocol")
    assert field_names(4, 6)[33] == "tcp_flags"
    assert field_names(6, 17)[7] == "ip_hop_limit"
    assert field_names(6, 17)[40:42] == ("udp_src_port",) * 2
    with pytest.raises(UsageError, match="no samples"):
        field_names(4, 1)


def test_samples_go_where_they_are_asked_to(four: tuple[PacketBatch, np.ndarray]) -> None:
    batch, samples = four
    h = decode(batch)
    out = np.full((6, 1500), 7, np.uint8)
    view = build_samples(batch, h, np.array([3, 0]), out)
    assert np.shares_memory(view, out)
    assert np.array_equal(view, samples[[3, 0]])
    assert (out[2:] == 7).all()
    assert build_samples(batch, h, np.empty(0, np.int64)).shape == (0, 1500)


def test_wrong_arguments_are_refused(
    four: tuple[PacketBatch, np.ndarray], make_batch: Maker, build: Any
) -> None:
    batch, samples = four
    h = decode(batch)
    rows = np.arange(2)
    for out in (
        np.empty((1, 1500), np.uint8),
        np.empty((2, 1499), np.uint8),
        np.empty((2, 1500), np.int8),
        np.empty((2, 3000), np.uint8)[:, ::2],
    ):
        with pytest.raises(UsageError, match="out must be"):
            build_samples(batch, h, rows, out)
    for bad in ([4], [-1]):
        with pytest.raises(UsageError, match="only be built"):
            build_samples(batch, h, np.array(bad))
    empty = make_batch([build.ip4(build.tcp(), 6)], 101)
    with pytest.raises(UsageError, match="only be built"):
        build_samples(empty, decode(empty), np.array([0]))
    with pytest.raises(UsageError, match="mask must be"):
        mask_samples(samples, "none")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="samples must be"):
        mask_samples(samples[:, :100], "strict")


def test_nameless_leaves_three_bytes_of_payload(make_batch: Maker, build: Any) -> None:
    name = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfcwww.example.org" * 9
    frames = [
        build.ether(packet)
        for body, protocol in ((build.tcp(name), 6), (build.udp(name), 17))
        for packet in (build.ip4(body, protocol), build.ip6(body, protocol))
    ]
    batch = make_batch(frames)
    samples = build_samples(batch, decode(batch), np.arange(4))
    hidden = mask_samples(samples, "nameless")
    strict = mask_samples(samples, "strict")
    for sample, other in zip(hidden, strict, strict=True):
        begin = 40 if sample[0] >> 4 == 4 else 60
        assert (sample[: begin + 3] == other[: begin + 3]).all()
        assert not sample[begin + 3 :].any()
        assert b"example" in other.tobytes()
    assert (mask_samples(hidden, "nameless") == hidden).all()
