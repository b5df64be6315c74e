"""The table of open flows: nothing that a capture holds upsets it, and it keeps no flow too long."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_flows import Flows, tcp, write

from mtc.capture.batch import PacketBatch
from mtc.errors import UsageError
from mtc.flows.features import CONVENTIONS, FeatureTable, convention_named, iter_features
from mtc.flows.features.table import FeatureRows


def batch_of(packets: list[bytes], link_type: int, times: list[int] | None = None) -> PacketBatch:
    lengths = np.array([len(packet) for packet in packets], np.int64)
    return PacketBatch(
        data=np.frombuffer(b"".join(packets), np.uint8),
        offsets=np.cumsum(lengths) - lengths,
        caplens=lengths,
        wirelens=lengths,
        timestamps=np.array(times or range(len(packets)), np.int64),
        link_types=np.full(len(packets), link_type, np.int32),
        first_packet=1,
    )


HEADERS = st.sampled_from(
    [
        b"",
        bytes(12) + b"\x08\0",
        bytes(12) + b"\x81\0\0\1\x08\0",
        bytes(12) + b"\x08\0\x45\0\0\x28\0\0\0\0\x40\x06",
        bytes(12) + b"\x08\0\x45\0\0\0\0\0\0\0\x40\x04\0\0" + bytes(8) + b"\x45",
        b"\x45\0\0\x1c\0\0\0\0\x40\x01\0\0" + bytes(8) + b"\3\1\0\0\0\0\0\0\x45",
    ]
)


@settings(max_examples=60, deadline=None)
@given(
    packets=st.lists(st.builds(lambda head, rest: head + rest, HEADERS, st.binary(max_size=80)), max_size=12),
    link_type=st.sampled_from([1, 101, 113, 0]),
    times=st.lists(st.integers(-(2**62), 2**62), min_size=12, max_size=12),
    convention=st.sampled_from(sorted(CONVENTIONS)),
    strict=st.booleans(),
)
def test_any_bytes_are_taken(
    packets: list[bytes], link_type: int, times: list[int], convention: str, strict: bool
) -> None:
    table = FeatureTable(CONVENTIONS[convention], strict=strict)
    parts = [table.update(batch_of(packets, link_type, times[: len(packets)]))]
    parts += list(table.finish())
    rows = FeatureRows.joined(parts)
    seen = int(rows.packets_forward.sum() + rows.packets_back.sum())
    dropped = len(packets) - seen - table.left_out.total() - table.unwritten
    assert dropped == 0 or (convention == "cicflowmeter4" and dropped > 0)  # repeated FINs
    assert table.held == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from(["A", "FA", "PA", "S"])), max_size=120))
def test_the_first_fin_ends_a_flow_however_many_are_open(steps: list[tuple[int, str]]) -> None:
    """The flows of ``cicids2017`` beside a plain dictionary; removal from the hash table loses none."""
    wanted, open_flows = [], dict[int, int]()
    for flow, flags in steps:
        if flow in open_flows and "F" in flags:
            wanted.append(open_flows.pop(flow) + 1)
        else:
            open_flows[flow] = open_flows.get(flow, 0) + 1
    wanted += [count for count in open_flows.values() if count > 1]
    table = FeatureTable(CONVENTIONS["cicids2017"])
    packets = [tcp(0, flags, port=1000 + flow)[1] for flow, flags in steps]
    parts = [table.update(batch_of(packets[i : i + 7], 101)) for i in range(0, len(packets), 7)]
    parts += list(table.finish())
    assert sorted(FeatureRows.joined(parts).packets_forward.tolist()) == sorted(wanted)


def test_idle_flows_are_handed_out(tmp_path: Path) -> None:
    table = FeatureTable(CONVENTIONS["corrected"])
    packets = [tcp(0, port=1000 + i % 3)[1] for i in range(6)]
    table.update(batch_of(packets, 101, [10**9 * i for i in range(6)]))
    assert table.take_idle(4_000_000).dst_port.tolist() == [80]
    assert table.held == 2
    assert len(table.take_idlest(1)) == 1
    table.update(batch_of(packets[2:3], 101, [6 * 10**9]))  # joins the flow that is left
    rows = list(table.finish())
    assert [part.packets_forward.tolist() for part in rows] == [[3]]
    assert table.begun == 3


def test_every_flow_of_many_is_found_again(tmp_path: Path) -> None:
    ports = [*range(1000, 21_000)] * 2
    path = write(tmp_path / "a.pcap", [tcp(i / 1e5, port=port) for i, port in enumerate(ports)])
    flows = Flows(path, "corrected")
    assert len(flows) == 20_000
    assert set(flows["Total Fwd Packet"]) == {2}
    assert set(flows["Fwd TCP Retrans. Count"]) == {1}
    assert flows.rows.number.tolist() == list(range(20_000))


def test_unknown_conventions_are_refused() -> None:
    with pytest.raises(UsageError, match="cicflowmeter4"):
        convention_named("cicflowmeter3")
    with pytest.raises(UsageError, match="nothing"):
        next(iter_features("capture.pcap", convention="nothing"))
