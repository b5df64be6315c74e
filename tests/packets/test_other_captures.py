"""Captures of other projects: no crash, everything counted, flows as others count them."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from mtc.capture import open_capture
from mtc.errors import CaptureError
from mtc.flows import SampleStream
from mtc.packets import REASONS, decode

# capture -> flows by nDPI or nfstream, flows here, cause; the table of docs/packets.md
OTHER_FLOWS = {
    "ntop__nDPI__pcap__stun.pcap": (9, 8, "ICMP"),
    "seladb__PcapPlusPlus__Tests__ExamplesTest__pcap_examples__many-protocols.pcap": (257, 253, "ICMP"),
    "the-tcpdump-group__tcpdump__tests__heapoverflow-ip_demux_print.pcap": (1, 0, "AH"),
    "ntop__nDPI__pcap__anyconnect-vpn.pcap": (69, 59, "ICMP, ICMPv6, IGMP"),
    "cisco__mercury__unit_tests__pcaps__imap2.pcap": (2, 1, "idle timeout"),
    "ntop__nDPI__pcap__KakaoTalk_chat.pcap": (38, 37, "ICMP"),
    "arkime__arkime__tests__pcap__IKEv1.pcap": (2, 1, "ESP"),
    "ntop__nDPI__pcap__wechat.pcap": (103, 96, "ICMPv6, IGMP"),
    "seladb__PcapPlusPlus__Tests__Pcap++Test__PcapExamples__650HttpResponses.pcap": (
        286,
        284,
        "idle timeout",
    ),
    "the-tcpdump-group__tcpdump__tests__eapon1.pcap": (8, 7, "IGMP"),
    "arkime__arkime__tests__pcap__gtp-iphone.pcap": (12, 1, "GTP"),
    "ntop__nDPI__pcap__stun_signal.pcapng": (23, 21, "ICMP"),
    "cisco__mercury__unit_tests__pcaps__quic_reordered_frames.pcap": (64, 60, "ICMPv6, IGMP"),
    "cisco__mercury__unit_tests__pcaps__openvpn_tcp_single.pcap": (7, 6, "ICMP"),
    "seladb__PcapPlusPlus__Tests__Packet++Test__PacketExamples__Ftp.pcap": (4, 2, "6in4, idle timeout"),
    "seladb__PcapPlusPlus__Tests__ExamplesTest__expected_output__no-ip-frag-all.pcap": (6, 4, "SCTP, ICMP"),
    "seladb__PcapPlusPlus__Tests__Packet++Test__PacketExamples__ipv6_options.pcap": (6, 2, "OSPF, ICMPv6"),
    "nfstream__nfstream__tests__pcaps__zoom.pcap": (33, 31, "ICMP"),
    "the-tcpdump-group__tcpdump__tests__PIM-DM_pruning.pcap": (5, 1, "PIM, idle timeout"),
    "ntop__nDPI__pcap__fuzz-2006-06-26-2594.pcap": (246, 245, "undefined protocols"),
    "the-tcpdump-group__tcpdump__tests__smb_data_print-segv.pcap": (2, 1, "idle timeout"),
}


def expected(folder: Path) -> list[dict[str, str]]:
    with (folder / "expected.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_labelled_captures(shared_data: Path) -> None:
    theirs = ours = 0
    differing = {}
    for row in expected(shared_data / "labelled-captures"):
        path = shared_data / "labelled-captures" / "captures" / row["capture"]
        with SampleStream(path, decapsulate=False, build=False) as stream:
            samples = sum(len(piece.headers["packet"]) for piece in stream)
        assert stream.packets == int(row["packets"]) == samples + stream.left_out.total()
        theirs += int(row["flows"])
        ours += len(stream.flows)
        if len(stream.flows) != int(row["flows"]):
            differing[row["capture"]] = (int(row["flows"]), len(stream.flows))
    assert differing == {name: counts[:2] for name, counts in OTHER_FLOWS.items()}
    # Their columns count flows of every IP protocol, ours those of TCP and UDP.
    causes = {
        name: a - b for name, (a, b, cause) in OTHER_FLOWS.items() if cause not in ("GTP", "idle timeout")
    }
    assert theirs - sum(causes.values()) == pytest.approx(ours, rel=0.02)


@pytest.mark.parametrize("decapsulate", [True, False])
def test_odd_captures(shared_data: Path, decapsulate: bool) -> None:
    counts: Counter[str] = Counter()
    for row in expected(shared_data / "odd-captures"):
        path = shared_data / "odd-captures" / "captures" / row["capture"]
        try:
            stream = SampleStream(path, decapsulate=decapsulate)
        except CaptureError:
            continue
        with stream:
            samples = sum(len(piece) for piece in stream)
        assert stream.packets == samples + stream.left_out.total(), path.name
        assert set(stream.left_out) < set(REASONS)
        counts.update(stream.left_out)
        counts["samples"] += samples
    assert counts["samples"] > 1000
    assert len(counts) > 12


def test_no_read_outside_a_packet_of_any_odd_capture(shared_data: Path) -> None:
    """Each packet alone gives what it gives among its neighbours."""
    for path in sorted((shared_data / "odd-captures" / "captures").iterdir()):
        try:
            reader = open_capture(path)
        except CaptureError:
            continue
        with reader:
            for batch in reader:
                together = decode(batch)
                for i in range(0, len(batch), max(1, len(batch) // 5)):
                    alone = decode(
                        type(batch)(
                            data=batch.packet(i).copy(),
                            offsets=np.zeros(1, np.int64),
                            caplens=batch.caplens[i : i + 1],
                            wirelens=batch.wirelens[i : i + 1],
                            timestamps=batch.timestamps[i : i + 1],
                            link_types=batch.link_types[i : i + 1],
                            first_packet=1,
                        )
                    )
                    for name in ("reason", "protocol", "src_port", "payload_length", "ttl", "src", "dst"):
                        assert np.array_equal(getattr(alone, name)[0], getattr(together, name)[i]), path.name
