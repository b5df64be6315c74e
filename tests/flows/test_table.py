"""The flow table against a dictionary, timeouts, bounded memory, community ids."""

from collections.abc import Callable
from ipaddress import ip_address
from typing import Any

import communityid
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtc.capture import PacketBatch
from mtc.errors import UsageError
from mtc.flows import FlowRecords, FlowSettings, FlowTable
from mtc.packets import decode

Maker = Callable[..., PacketBatch]
S = 1_000_000_000

packet = st.tuples(
    st.booleans(),  # TCP
    st.booleans(),  # IPv6
    st.integers(1, 4),  # source
    st.integers(1, 4),  # destination
    st.integers(1, 3),  # ports
    st.integers(1, 3),
)


def frame_of(build: Any, description: tuple[bool, bool, int, int, int, int]) -> bytes:
    tcp, v6, src, dst, sport, dport = description
    body = build.tcp(b"x", 1000 + sport, 1000 + dport) if tcp else build.udp(b"x", 1000 + sport, 1000 + dport)
    protocol = 6 if tcp else 17
    if v6:
        return bytes(build.ip6(body, protocol, src=src, dst=dst))
    return bytes(build.ip4(body, protocol, src=f"10.0.0.{src}", dst=f"10.0.0.{dst}"))


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(st.lists(packet, max_size=60), st.integers(1, 60))
def test_flows_are_those_of_a_dictionary(
    make_batch: Maker, build: Any, descriptions: list[tuple[bool, bool, int, int, int, int]], size: int
) -> None:
    known: dict[Any, int] = {}
    counts: dict[int, list[int]] = {}
    expected = []
    for at, (tcp, v6, src, dst, sport, dport) in enumerate(descriptions):
        ends = (src, sport), (dst, dport)
        flow = known.setdefault((tcp, v6, *sorted(ends)), len(known))
        expected.append(flow)
        row = counts.setdefault(flow, [src, sport, at, at, 0, 0])
        row[3] = at
        row[4 if ends[0] == (row[0], row[1]) else 5] += 1
    table = FlowTable()
    ids: list[int] = []
    for begin in range(0, len(descriptions), size):
        part = descriptions[begin : begin + size]
        batch = make_batch([frame_of(build, d) for d in part], 101, times=range(begin, begin + len(part)))
        ids += table.update(decode(batch), batch).tolist()
    assert ids == expected
    records = table.records()
    assert len(table) == len(records) == len(known)
    for flow, (_, sport, start, end, forward, back) in counts.items():
        assert records.flow[flow] == flow
        assert records.src_port[flow] == 1000 + sport
        assert (records.start[flow], records.end[flow]) == (start, end)
        # both ends alike (same address and port): every packet runs forward
        assert records.packets_forward[flow] + records.packets_back[flow] == forward + back
        if records.packets_back[flow]:
            assert (records.packets_forward[flow], records.packets_back[flow]) == (forward, back)


def test_directions_and_bytes(make_batch: Maker, build: Any) -> None:
    there = build.ip4(build.tcp(b"x", 5000, 80), 6, src="10.0.0.9", dst="10.0.0.1")
    back = build.ip4(build.tcp(b"xyz", 80, 5000), 6, src="10.0.0.1", dst="10.0.0.9")
    batch = make_batch([there, back, back], 101, wirelens=[100, 1000, 1000], times=[5, 9, 7])
    table = FlowTable()
    assert table.update(decode(batch), batch, capture_index=3).tolist() == [0, 0, 0]
    records = table.records()
    assert records.row(0) == {
        "flow": 1,
        "protocol": "tcp",
        "src": "10.0.0.9",
        "src_port": 5000,
        "dst": "10.0.0.1",
        "dst_port": 80,
        "start": 5e-9,
        "end": 9e-9,
        "packets": 3,
        "bytes": 2100,
    }
    assert (records.bytes_forward[0], records.bytes_back[0], records.capture[0]) == (100, 2000, 3)


def run(make_batch: Maker, frames: list[bytes], times: list[int], settings: FlowSettings) -> list[int]:
    table = FlowTable(settings)
    batch = make_batch(frames, 101, times=times)
    return table.update(decode(batch), batch).tolist()


def test_idle_and_active_timeout(make_batch: Maker, build: Any) -> None:
    frames = [build.ip4(build.udp(b"x"), 17)] * 5
    times = [0, 4 * S, 8 * S, 20 * S, 21 * S]
    assert run(make_batch, frames, times, FlowSettings()) == [0] * 5
    assert run(make_batch, frames, times, FlowSettings(idle_timeout_s=5)) == [0, 0, 0, 1, 1]
    assert run(make_batch, frames, times, FlowSettings(active_timeout_s=6)) == [0, 0, 1, 2, 2]
    for wrong in (0, -1):
        with pytest.raises(UsageError, match="must be positive"):
            FlowSettings(idle_timeout_s=wrong)


def test_tcp_end(make_batch: Maker, build: Any) -> None:
    def segment(flags: int, forward: bool = True) -> bytes:
        ports = (5000, 80) if forward else (80, 5000)
        hosts = ("10.0.0.1", "10.0.0.2") if forward else ("10.0.0.2", "10.0.0.1")
        return bytes(build.ip4(build.tcp(b"x", *ports, flags=flags), 6, src=hosts[0], dst=hosts[1]))

    fin, syn, ack, rst = 0x11, 0x02, 0x10, 0x04
    closed = [
        segment(syn),
        segment(fin),
        segment(ack, False),
        segment(fin, False),
        segment(ack),
        segment(syn),
    ]
    times = list(range(len(closed)))
    assert run(make_batch, closed, times, FlowSettings()) == [0] * 6
    assert run(make_batch, closed, times, FlowSettings(tcp_end=True)) == [0, 0, 0, 0, 0, 1]
    half = [segment(syn), segment(fin), segment(syn)]
    assert run(make_batch, half, [0, 1, 2], FlowSettings(tcp_end=True)) == [0, 0, 0]
    reset = [segment(syn), segment(rst, False), segment(ack), segment(syn)]
    assert run(make_batch, reset, [0, 1, 2, 3], FlowSettings(tcp_end=True)) == [0, 0, 0, 1]


def test_memory_is_bounded_by_the_flows_alive(make_batch: Maker, build: Any) -> None:
    table = FlowTable(FlowSettings(idle_timeout_s=10))
    base = build.ip4(build.udp(b"x"), 17)
    finished: list[FlowRecords] = []
    rounds, flows = 40, 500
    for round_ in range(rounds):
        frames = []
        for k in range(flows):
            frame = bytearray(base)
            frame[12:16] = (0x0A000000 + round_ * flows + k).to_bytes(4)
            frames.append(bytes(frame))
        batch = make_batch(frames, 101, times=[round_ * 20 * S] * flows)
        table.update(decode(batch), batch)
        finished.append(table.take_finished())
        assert len(table.records()) <= flows
    assert len(table._flows) <= 4 * flows
    assert [len(part) for part in finished] == [0] + [flows] * (rounds - 1)
    everything = FlowRecords.joined([*finished, table.records()])
    assert everything.flow.tolist() == list(range(rounds * flows))
    assert everything.packets.sum() == rounds * flows
    assert len(table) == rounds * flows


def test_a_flow_goes_on_after_others_were_handed_out(make_batch: Maker, build: Any) -> None:
    table = FlowTable(FlowSettings(idle_timeout_s=10))
    kept, old = build.ip4(build.udp(b"x", 1111), 17), build.ip4(build.udp(b"x", 2222), 17)
    batch = make_batch([old, kept], 101, times=[0, 9 * S])
    assert table.update(decode(batch), batch).tolist() == [0, 1]
    batch = make_batch([kept], 101, times=[12 * S])
    assert table.update(decode(batch), batch).tolist() == [1]
    assert table.take_finished().src_port.tolist() == [2222]
    batch = make_batch([kept, old], 101, times=[13 * S, 13 * S])
    assert table.update(decode(batch), batch).tolist() == [1, 2]
    assert table.records().packets.tolist() == [3, 1]


def test_the_table_grows(make_batch: Maker, build: Any) -> None:
    base = bytearray(build.ip6(build.udp(b"x"), 17))
    frames = []
    for k in range(20_000):
        base[16:24] = (k * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8)
        frames.append(bytes(base))
    table = FlowTable()
    batch = make_batch(frames, 101)
    h = decode(batch)
    assert table.update(h, batch).tolist() == list(range(20_000))
    assert table.update(h, batch).tolist() == list(range(20_000))
    assert table.records().packets.tolist() == [2] * 20_000


@pytest.mark.parametrize("v6", [False, True])
@pytest.mark.parametrize("tcp", [False, True])
def test_community_ids_are_those_of_the_library(make_batch: Maker, build: Any, v6: bool, tcp: bool) -> None:
    rng = np.random.default_rng(1)
    descriptions = [
        (tcp, v6, *map(int, rng.integers(1, 250, 2)), *map(int, rng.integers(1, 999, 2))) for _ in range(40)
    ]
    batch = make_batch([frame_of(build, d) for d in descriptions], 101)
    table = FlowTable()
    table.update(decode(batch), batch)
    records = table.records()
    library = communityid.CommunityID()
    for k in range(len(records)):
        _, _, src, dst, sport, dport = descriptions[k]
        prefix = "2001:db8::" if v6 else "10.0.0."
        ends = [str(ip_address(prefix + (f"{host:x}" if v6 else str(host)))) for host in (src, dst)]
        make = communityid.FlowTuple.make_tcp if tcp else communityid.FlowTuple.make_udp
        assert records.community_id(k) == records.columns()["community_id"][k]
        assert records.community_id(k) == library.calc(make(*ends, 1000 + sport, 1000 + dport))
        assert [records.address("src", k), records.address("dst", k)] == ends


def test_community_id_of_the_specification(make_batch: Maker, build: Any) -> None:
    """Example of the specification's README: 128.232.110.120:34855 to 66.35.250.204:80, TCP."""
    frame = build.ip4(build.tcp(b"x", 34855, 80), 6, src="128.232.110.120", dst="66.35.250.204")
    table = FlowTable()
    batch = make_batch([frame], 101)
    table.update(decode(batch), batch)
    assert table.records().community_id(0) == "1:LQU9qZlK+B5F3KDmev6m5PMibrg="


def test_host_pairs(make_batch: Maker, build: Any) -> None:
    descriptions = [
        (True, False, 3, 1, 1, 2),
        (False, False, 1, 3, 2, 1),
        (True, False, 1, 2, 1, 1),
        (True, True, 3, 1, 1, 2),
    ]
    batch = make_batch([frame_of(build, d) for d in descriptions], 101)
    table = FlowTable()
    table.update(decode(batch), batch)
    assert table.records().host_pair.tolist() == [0, 0, 1, 2]
    assert len(FlowTable().records().host_pair) == 0
