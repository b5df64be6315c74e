"""What each convention does with traffic that is out of the ordinary, on made captures."""

import struct
from pathlib import Path

import pytest
from made_flows import Flows, ip, tcp, udp, write

ALL = ("cicids2017", "cicflowmeter4", "corrected")
OLDER = ALL[:2]


@pytest.mark.parametrize("convention", ALL)
def test_a_clock_that_jumps_back_gives_negative_times(tmp_path: Path, convention: str) -> None:
    path = write(tmp_path / "a.pcap", [udp(100), udp(0), udp(0.5)])
    flows = Flows(path, convention)
    assert flows["Flow Duration"] == [-99_500_000]
    assert flows["Flow IAT Min"] == [-100_000_000]
    assert flows["Fwd Packets/s"] == [0]  # of no time, or less
    assert flows["Flow Packets/s"][0] == pytest.approx(3 / -99.5)


@pytest.mark.parametrize("convention", ALL)
def test_a_clock_that_jumps_ahead_begins_a_new_flow(tmp_path: Path, convention: str) -> None:
    path = write(tmp_path / "a.pcap", [udp(0), udp(1), udp(10_000), udp(10_001)])
    assert Flows(path, convention)["Flow Duration"] == [1_000_000, 1_000_000]


def test_a_syn_ack_before_its_syn(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [tcp(0, "SA", back=True), tcp(0.1, "S"), tcp(0.2, "A")])
    for convention in OLDER:  # the sender of the first packet is the source
        flows = Flows(path, convention)
        assert flows.rows.src_port.tolist() == [80]
        assert flows["Total Fwd Packet"] == [1]
    flows = Flows(path, "corrected")
    assert flows.rows.src_port.tolist() == [40_000]
    assert flows["Total Fwd Packet"] == [2]
    assert flows["Fwd Seg Size Min"] == [0]  # the first packet came from the other side


@pytest.mark.parametrize("convention", ALL)
def test_only_captured_bytes_of_cut_packets_count(tmp_path: Path, convention: str) -> None:
    packets = [tcp(0, "PA", 500), tcp(0.1, "PA", 700, back=True)]
    flows = Flows(write(tmp_path / "a.pcap", packets, snaplen=140), convention)
    assert flows["Total Length of Fwd Packet"] == [100]
    assert flows["Total Length of Bwd Packet"] == [100]
    assert flows.rows.bytes_forward.tolist() == [540]  # on the wire


@pytest.mark.parametrize("convention", ALL)
def test_ip_length_0_is_left_to_the_network_card(tmp_path: Path, convention: str) -> None:
    def without_length(packet: tuple[float, bytes]) -> tuple[float, bytes]:
        time, data = packet
        return time, b"\2" * 12 + b"\x08\0" + data[:2] + b"\0\0" + data[4:]

    packets = [without_length(tcp(0, "PA", 100)), without_length(tcp(0.1, "PA", 50))]
    path = write(tmp_path / "a.pcap", packets, linktype=1)
    assert Flows(path, convention)["Total Length of Fwd Packet"] == [150]
    strict = Flows(path, convention, strict=True)  # the older tools see no TCP there
    assert strict.rows.protocol.tolist() == [6 if convention == "corrected" else 0]
    assert strict["Total Length of Fwd Packet"] == [150 if convention == "corrected" else 0]


def test_a_five_tuple_is_used_again(tmp_path: Path) -> None:
    one = [tcp(0, "S"), tcp(0.1, "SA", back=True), tcp(0.2, "A"), tcp(0.3, "FA"), tcp(0.4, "FA", back=True)]
    one.append(tcp(0.5, "A"))
    path = write(tmp_path / "a.pcap", [*one, *((time + 1, data) for time, data in one)])
    # The first FIN ends a flow; what is left of the teardown begins one that the next connection joins.
    flows = Flows(path, "cicids2017")
    assert flows["Total Fwd Packet"] == [3, 2, 1]
    assert flows["Total Bwd packets"] == [1, 4, 1]
    # The FIN of the server ends a flow; the last acknowledgement begins one, which the next SYN joins.
    flows = Flows(path, "cicflowmeter4")
    assert flows["FIN Flag Count"] == [2, 2]
    assert flows["SYN Flag Count"] == [2, 2]
    flows = Flows(path, "corrected")
    assert flows["Total Fwd Packet"] == [4, 4]
    assert flows["Total Bwd packets"] == [2, 2]


def test_flows_longer_than_two_minutes_are_cut(tmp_path: Path) -> None:
    packets = [tcp(0), tcp(60, payload=10, back=True), tcp(121, payload=5, back=True), tcp(122)]
    path = write(tmp_path / "a.pcap", packets)
    for convention in ALL:
        flows = Flows(path, convention)
        assert flows["Flow Duration"] == [60_000_000, 1_000_000]
        assert flows.rows.src_port.tolist() == [40_000, 40_000]  # the connection keeps its source
    for convention in OLDER:  # the first packet of a flow counts as forward, whoever sent it
        assert Flows(path, convention)["Total Fwd Packet"] == [1, 2]
    flows = Flows(path, "corrected")
    assert flows["Total Fwd Packet"] == [1, 1]
    assert flows["Total Connection Flow Time"] == [60_000_000, 122_000_000]


def test_a_silence_of_two_minutes_turns_udp_around(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [udp(0), udp(1), udp(130, back=True), udp(131, back=True)])
    assert Flows(path, "cicflowmeter4").rows.src_port.tolist() == [40_000, 40_000]
    assert Flows(path, "corrected").rows.src_port.tolist() == [40_000, 53]


def test_sctp_has_ports_in_the_corrected_tool_alone(tmp_path: Path) -> None:
    chunk = struct.pack(">HHII", 5000, 80, 1, 0) + bytes(20)
    path = write(tmp_path / "a.pcap", [(0, ip(132, chunk)), (0.1, ip(132, chunk))])
    for convention in OLDER:
        flows = Flows(path, convention)
        assert (flows.rows.protocol[0], flows.rows.dst_port[0]) == (0, 0)
        assert flows["Total Length of Fwd Packet"] == [0]
    flows = Flows(path, "corrected")
    assert (flows.rows.protocol[0], flows.rows.dst_port[0]) == (132, 80)
    assert flows["Total Length of Fwd Packet"] == [40]
    assert flows["Fwd Header Length"] == [24]


def test_icmp_is_one_flow_or_one_by_code_and_type(tmp_path: Path) -> None:
    echo, lost = b"\x08\0\0\0\0\1\0\1" + bytes(56), b"\x0b\1\0\0\0\0\0\0" + bytes(28)
    packets = [(0, ip(1, echo)), (0.1, ip(1, echo)), (0.2, ip(1, lost)), (0.3, ip(47, bytes(8)))]
    path = write(tmp_path / "a.pcap", packets)
    for convention in OLDER:  # with all else that is neither TCP nor UDP
        flows = Flows(path, convention)
        assert flows.rows.protocol.tolist() == [0]
        assert flows["Total Fwd Packet"] == [4]
    flows = Flows(path, "corrected")
    assert flows.rows.protocol.tolist() == [1, 1, 0]
    assert flows["ICMP Type"] == [8, 11, -1]
    assert flows["Total Fwd Packet"] == [2, 1, 1]


def test_flows_of_one_packet_are_written_by_the_corrected_tool_alone(tmp_path: Path) -> None:
    path = write(tmp_path / "a.pcap", [tcp(i / 10, "S", port=1000 + i) for i in range(20)])
    for convention in OLDER:
        flows = Flows(path, convention)
        assert (len(flows), flows.table.unwritten) == (0, 20)
    flows = Flows(path, "corrected")
    assert (len(flows), flows.table.unwritten) == (20, 0)
    assert flows["Flow Bytes/s"] == [-1] * 20


def test_padding_counts_as_payload_in_the_dataset_alone(tmp_path: Path) -> None:
    def padded(packet: tuple[float, bytes]) -> tuple[float, bytes]:
        return packet[0], (b"\2" * 12 + b"\x08\0" + packet[1]).ljust(60, b"\0")

    path = write(tmp_path / "a.pcap", [padded(tcp(0, "S")), padded(tcp(0.1, "RA", back=True))], linktype=1)
    flows = Flows(path, "cicids2017")
    assert (flows["Total Length of Fwd Packet"], flows["Total Length of Bwd Packet"]) == ([6], [6])
    for convention in ("cicflowmeter4", "corrected"):
        assert Flows(path, convention)["Total Length of Fwd Packet"] == [0]


@pytest.mark.parametrize("convention", ALL)
def test_ipv6_and_tunnels_are_discarded_only_by_the_strict_reading(tmp_path: Path, convention: str) -> None:
    inner = tcp(0, "PA", 20)[1]
    header = struct.pack(">IHBB", 6 << 28, len(inner), 4, 64) + bytes(15) + b"\1" + bytes(15) + b"\2"
    frame = b"\0" * 12 + b"\x86\xdd" + header + inner
    path = write(tmp_path / "a.pcap", [(0, frame), (0.1, frame)], linktype=1)
    flows = Flows(path, convention)
    assert flows["Total Length of Fwd Packet"] == [40]
    assert flows.rows.src_port.tolist() == [40_000]
    assert len(Flows(path, convention, strict=True)) == 0
