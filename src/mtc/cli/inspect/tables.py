"""The tables that ``mtc inspect`` shows."""

from collections import Counter
from collections.abc import Callable, Iterator

from rich.text import Text

from mtc.cli.shared.tables import RowTable, TableColumn, duration_text, size_text, stdout_console, time_text
from mtc.flows import CaptureSummary
from mtc.flows.summary import ProtocolTree
from mtc.packets import REASON_TEXTS
from mtc.rows import Row

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
SHOWN_CAPTURES = 200
BAR = 24


def show(summaries: list[CaptureSummary]) -> None:
    """Print what was found to standard output."""
    console = stdout_console()
    if len(summaries) == 1:
        for line in _facts(summaries[0]):
            console.print(line, soft_wrap=True)
    else:
        table = RowTable(_CAPTURES, console=console)
        for summary in summaries[:SHOWN_CAPTURES]:
            table.write({"summary": summary})
        table.finish()
        packets = sum(summary.packets for summary in summaries)
        samples = sum(summary.samples for summary in summaries)
        console.print(f"{len(summaries):,} captures, {packets:,} packets, {samples:,} samples")
        if len(summaries) > SHOWN_CAPTURES:
            console.print(f"The first {SHOWN_CAPTURES} of {len(summaries)} captures; --json lists all.")
    console.print()
    for line in (*_left_out(summaries), Text(), *_protocols(summaries)):
        console.print(line, soft_wrap=True)


def _facts(summary: CaptureSummary) -> Iterator[Text]:
    facts = {
        "capture": summary.file,
        "format": summary.format,
        "link layer": _link_layers(summary),
        "first packet": "" if summary.start is None else f"{_moment(summary.start)} UTC",
        "last packet": "" if summary.end is None else f"{_moment(summary.end)} UTC",
        "lasts": _lasts(summary),
        "packets": f"{summary.packets:,}, {size_text(summary.wire_bytes)} on the wire",
        "samples": f"{summary.samples:,}"
        + (f", {summary.checks.cut_samples:,} of them cut" if summary.checks.cut_samples else ""),
        "skipped": f"{sum(summary.left_out.values()):,}",
        "flows": f"{summary.flows:,}",
        "cut packets": f"{summary.cut:,}" if summary.cut else "",
        "damage": summary.damage or "",
    }
    for name, text in facts.items():
        if text:
            yield Text.assemble((f"{name:>12}  ", "bold"), text)


def _link_layers(summary: CaptureSummary) -> str:
    return ", ".join(LINK_TYPES.get(number, "?") + f" ({number})" for number in summary.link_types)


def _moment(ns: int) -> str:
    return time_text(ns // 10**9) + f".{ns % 10**9:09d}"


def _lasts(summary: CaptureSummary) -> str:
    if summary.start is None or summary.end is None:
        return ""
    return duration_text((summary.end - summary.start) / 1e9)


def _of(text: Callable[[CaptureSummary], str]) -> Callable[[Row], str]:
    return lambda row: text(row["summary"])


_CAPTURES = (
    TableColumn("capture", _of(lambda summary: summary.file), least=20),
    TableColumn("packets", _of(lambda summary: f"{summary.packets:,}"), right=True),
    TableColumn("samples", _of(lambda summary: f"{summary.samples:,}"), right=True),
    TableColumn("flows", _of(lambda summary: f"{summary.flows:,}"), right=True),
    TableColumn("lasts", _of(_lasts), right=True),
    TableColumn("damage", _of(lambda summary: summary.damage or ""), optional=True),
    TableColumn(
        "first packet (UTC)",
        _of(lambda summary: "" if summary.start is None else time_text(summary.start // 10**9)),
        optional=True,
    ),
    TableColumn(
        "last packet (UTC)",
        _of(lambda summary: "" if summary.end is None else time_text(summary.end // 10**9)),
        optional=True,
    ),
    TableColumn("bytes", _of(lambda summary: size_text(summary.wire_bytes)), right=True, optional=True),
    TableColumn(
        "skipped", _of(lambda summary: f"{sum(summary.left_out.values()):,}"), right=True, optional=True
    ),
    TableColumn("cut", _of(lambda summary: f"{summary.cut:,}"), right=True, optional=True),
    TableColumn("format", _of(lambda summary: summary.format), optional=True),
    TableColumn("link layer", _of(_link_layers), optional=True),
)


def _left_out(summaries: list[CaptureSummary]) -> Iterator[Text]:
    counts: Counter[str] = Counter()
    for summary in summaries:
        counts.update(summary.left_out)
    packets = sum(summary.packets for summary in summaries)
    if counts:
        yield Text("packets that are no samples", "bold")
    width = max(map(len, counts), default=0)
    for reason, n in counts.most_common():
        yield Text(f"  {reason:<{width}}  {n:>11,}  {n / packets:>6.1%}  {REASON_TEXTS[reason]}")


def _protocols(summaries: list[CaptureSummary]) -> Iterator[Text]:
    tree = ProtocolTree("all")
    for summary in summaries:
        tree.join(summary.protocols)
    lines = list(_branches(tree, 0))
    width = max((len(name) for name, _ in lines), default=0)
    yield Text(f"{'protocols':<{width + 2}}  {'packets':>11}  {'bytes':>8}", "bold")
    for name, node in lines:
        share = "█" * round(BAR * node.bytes / (tree.bytes or 1))
        yield Text.assemble(
            f"  {name:<{width}}  {node.packets:>11,}  {size_text(node.bytes):>8}  ", (share, "cyan")
        )


def _branches(tree: ProtocolTree, depth: int) -> Iterator[tuple[str, ProtocolTree]]:
    for child in tree.ordered():
        yield "  " * depth + child.name, child
        yield from _branches(child, depth + 1)
