"""The tables that ``mtc inspect`` shows."""

import os
import socket
from collections import Counter
from datetime import UTC, datetime

from rich.console import Console
from rich.table import Table

from mtc.flows import CaptureSummary
from mtc.packets import REASON_TEXTS

LINK_TYPES = {
    0: "null",
    1: "Ethernet",
    6: "Token Ring",
    8: "SLIP",
    9: "PPP",
    10: "FDDI",
    12: "raw IP",
    14: "raw IP",
    50: "PPP",
    51: "PPPoE",
    100: "ATM",
    101: "raw IP",
    104: "Cisco HDLC",
    105: "802.11",
    107: "Frame Relay",
    108: "loopback",
    109: "enc",
    113: "Linux cooked",
    117: "pflog",
    119: "Prism",
    122: "IP over Fibre Channel",
    123: "SunATM",
    127: "radiotap",
    138: "IP over IEEE 1394",
    143: "DOCSIS",
    147: "user-defined",
    149: "PKTAP or user-defined",
    163: "AVS",
    166: "PPP with direction",
    178: "Juniper Ethernet",
    179: "Juniper PPP",
    180: "Juniper Frame Relay",
    181: "Juniper Cisco HDLC",
    187: "Bluetooth",
    189: "USB",
    192: "PPI",
    195: "IEEE 802.15.4",
    197: "ERF",
    201: "Bluetooth",
    204: "PPP with direction",
    205: "Cisco HDLC with direction",
    206: "Frame Relay with direction",
    219: "MPLS",
    220: "USB",
    226: "IPNET",
    227: "CAN",
    228: "IPv4",
    229: "IPv6",
    239: "NFLOG",
    240: "netANALYZER",
    241: "netANALYZER with preamble",
    242: "IP over InfiniBand",
    247: "InfiniBand",
    249: "USB",
    252: "Wireshark upper PDU",
    253: "netlink",
    258: "PKTAP",
    274: "IEEE 802.3br",
    276: "Linux cooked 2",
    281: "Broadcom switch tag",
    282: "Broadcom switch tag",
    283: "Marvell switch tag",
    284: "Marvell switch tag",
}
PROTOCOLS = {1: "ICMP", 2: "IGMP", 6: "TCP", 17: "UDP", 47: "GRE", 50: "ESP", 58: "ICMPv6", 132: "SCTP"}
PIPED_WIDTH = 200
WIDE = 140
SHOWN_PORTS = 12
SHOWN_CAPTURES = 200
SHOWN_FLOWS = 1000


def show(summaries: list[CaptureSummary], *, flows: bool) -> None:
    """Print what was found to standard output."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console = Console(width=PIPED_WIDTH)
    if len(summaries) > SHOWN_CAPTURES:
        console.print(f"The first {SHOWN_CAPTURES} of {len(summaries)} captures; --json lists all.")
    console.print(_captures(summaries))
    console.print(_left_out(summaries))
    console.print(_protocols(summaries))
    if flows:
        console.print(_flows(summaries, wide=console.width >= WIDE))


def _captures(summaries: list[CaptureSummary]) -> Table:
    table = Table("capture", "format", "link layer", title="Captures")
    for name in ("packets", "samples", "left out", "cut", "flows", "seconds"):
        table.add_column(name, justify="right")
    table.add_column("damage")
    for summary in summaries[:SHOWN_CAPTURES]:
        table.add_row(
            summary.file,
            summary.format,
            ", ".join(LINK_TYPES.get(number, "?") + f" ({number})" for number in summary.link_types),
            *(f"{n:,}" for n in _numbers(summary)),
            "" if summary.start is None else f"{((summary.end or 0) - summary.start) / 1e9:,.1f}",
            summary.damage or "",
        )
    if len(summaries) > 1:
        sums = [sum(column) for column in zip(*map(_numbers, summaries), strict=True)]
        table.add_section()
        table.add_row(f"{len(summaries):,} captures", "", "", *(f"{n:,}" for n in sums), "", "")
    return table


def _numbers(summary: CaptureSummary) -> tuple[int, ...]:
    left_out = sum(summary.left_out.values())
    return summary.packets, summary.samples, left_out, summary.cut, summary.flows


def _left_out(summaries: list[CaptureSummary]) -> Table:
    counts: Counter[str] = Counter()
    for summary in summaries:
        counts.update(summary.left_out)
    packets = sum(summary.packets for summary in summaries)
    table = Table("left out", title="Packets that are no samples")
    table.add_column("packets", justify="right")
    table.add_column("share", justify="right")
    table.add_column("because")
    for reason, n in counts.most_common():
        table.add_row(reason, f"{n:,}", f"{n / packets:.1%}", REASON_TEXTS[reason])
    return table


def _protocols(summaries: list[CaptureSummary]) -> Table:
    protocols: Counter[tuple[int, int]] = Counter()
    ports: Counter[tuple[int, int]] = Counter()
    for summary in summaries:
        protocols.update(summary.protocols)
        ports.update(summary.ports)
    table = Table("protocol", title="Protocols and lower ports")
    table.add_column("packets", justify="right")
    for (version, protocol), n in protocols.most_common():
        name = PROTOCOLS.get(protocol, f"protocol {protocol}")
        table.add_row(f"IPv{version} {name}" if version else "no IP", f"{n:,}")
    table.add_section()
    for (protocol, port), n in ports.most_common(SHOWN_PORTS):
        table.add_row(f"{PROTOCOLS[protocol]} port {port} {_service(port, protocol)}".rstrip(), f"{n:,}")
    return table


def _service(port: int, protocol: int) -> str:
    try:
        return socket.getservbyport(port, PROTOCOLS[protocol].lower())
    except OSError:
        return ""


def _flows(summaries: list[CaptureSummary], *, wide: bool) -> Table:
    total = sum(len(summary.records) for summary in summaries if summary.records is not None)
    caption = (
        f"the first {SHOWN_FLOWS:,} of {total:,}; --format csv lists all" if total > SHOWN_FLOWS else None
    )
    table = Table("flow", "protocol", "source", "destination", "start (UTC)", title="Flows", caption=caption)
    for name in ("seconds", "packets → ←", "bytes → ←"):
        table.add_column(name, justify="right")
    if wide:
        table.add_column("community id", no_wrap=True)
    left = SHOWN_FLOWS
    for summary in summaries:
        if summary.records is None or not left:
            continue
        if len(summaries) > 1:
            table.add_section()
            table.add_row("", "", summary.file)
        records = summary.records
        for k in range(min(len(records), left)):
            row = records.row(k)
            table.add_row(
                str(row["flow"]),
                row["protocol"],
                _endpoint(row["src"], row["src_port"]),
                _endpoint(row["dst"], row["dst_port"]),
                _time(int(records.start[k])),
                f"{row['end'] - row['start']:.3f}",
                f"{records.packets_forward[k]:,} {records.packets_back[k]:,}",
                f"{records.bytes_forward[k]:,} {records.bytes_back[k]:,}",
                *([records.community_id(k)] if wide else []),
            )
            left -= 1
    return table


def _endpoint(address: str, port: int) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _time(nanoseconds: int) -> str:
    try:
        moment = datetime.fromtimestamp(nanoseconds // 10**9, UTC)
    except (ValueError, OverflowError, OSError):
        return str(nanoseconds)
    return f"{moment:%Y-%m-%d %H:%M:%S}.{nanoseconds // 10**6 % 1000:03d}"
