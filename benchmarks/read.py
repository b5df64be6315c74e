"""Reading speed, side by side: this package, dpkt, scapy and tshark, at several depths.

    python benchmarks/read.py [--packets 2000000] [--captures ../shared/data/labelled-captures/captures]

Depths: *records* (find each packet), *headers* (link layer to ports), *samples* (the 1500 bytes that
a model reads), *flows* (headers, flows, their protocols and names, without samples). The traffic is
made here: 64, 594 and 1518 bytes, TCP and UDP, some VLAN and IPv6. The slow tools read the first
100,000 packets. As the physical limit, `np.copyto` fills the same samples, batch by batch, into a
reused buffer.
"""

import argparse
import shutil
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from mtc.capture import expand_inputs, open_capture
from mtc.flows import SampleStream, iter_samples
from mtc.packets import decode
from traffic import write_traffic

SLOW_PACKETS = 100_000
PIECE = 8192
Depths = dict[str, Callable[[list[Path]], int]]


def our_records(paths: list[Path]) -> int:
    count = 0
    for path in paths:
        with open_capture(path) as reader:
            count += sum(len(batch) for batch in reader)
    return count


def our_headers(paths: list[Path]) -> int:
    count = 0
    for path in paths:
        with open_capture(path) as reader:
            count += sum(len(decode(batch).reason) for batch in reader)
    return count


def our_samples(paths: list[Path]) -> int:
    return sum(piece.packets for piece in iter_samples(*paths))


def our_flows(paths: list[Path]) -> int:
    count = 0
    for path in paths:
        with SampleStream(path, build=False, names=True) as stream:
            count += sum(piece.packets for piece in stream)
            stream.flows.records()
    return count


def dpkt_packets(paths: list[Path]) -> Iterator[tuple[bytes, int]]:
    import dpkt

    for path in paths:
        with path.open("rb") as file:
            pcapng = file.read(4) == b"\x0a\x0d\x0d\x0a"
            file.seek(0)
            try:
                reader = (dpkt.pcapng if pcapng else dpkt.pcap).Reader(file)
                link_type = reader.datalink()
                for _, data in reader:
                    yield data, link_type
            except (ValueError, dpkt.Error):  # a file that it does not read
                continue


def dpkt_ip(data: bytes, link_type: int) -> object:
    import dpkt

    try:
        if link_type == 1:
            return dpkt.ethernet.Ethernet(data).data
        if link_type in (12, 101, 228, 229):
            return (dpkt.ip6.IP6 if data[:1] >= b"\x60" else dpkt.ip.IP)(data)
        if link_type == 113:
            return dpkt.sll.SLL(data).data
    except (dpkt.Error, IndexError, ValueError):
        return None  # a packet that dpkt cannot read
    return None


def dpkt_records(paths: list[Path]) -> int:
    return sum(1 for _ in islice(dpkt_packets(paths), SLOW_PACKETS))


def dpkt_headers(paths: list[Path]) -> int:
    count = 0
    for data, link_type in islice(dpkt_packets(paths), SLOW_PACKETS):
        ip = dpkt_ip(data, link_type)
        transport = getattr(ip, "data", None)
        _ = (getattr(ip, "src", None), getattr(transport, "sport", None), getattr(transport, "dport", None))
        count += 1
    return count


def dpkt_samples(paths: list[Path]) -> int:
    import dpkt

    buffer = np.zeros((PIECE, 1500), np.uint8)
    count = row = 0
    for data, link_type in islice(dpkt_packets(paths), SLOW_PACKETS):
        count += 1
        ip = dpkt_ip(data, link_type)
        transport = getattr(ip, "data", None)
        payload = getattr(transport, "data", None)
        if not isinstance(transport, dpkt.tcp.TCP | dpkt.udp.UDP) or not payload:
            continue
        header = bytearray(bytes(ip)[: 40 if isinstance(ip, dpkt.ip6.IP6) else 20])
        header[8 if len(header) == 40 else 12 : 40 if len(header) == 40 else 20] = bytes(
            32 if len(header) == 40 else 8
        )
        sample = bytes(header) + bytes(transport)[:20].ljust(20, b"\0") + bytes(payload)
        buffer[row % PIECE] = np.frombuffer(sample[:1500].ljust(1500, b"\0"), np.uint8)
        row += 1
    return count


def scapy_packets(paths: list[Path], *, raw: bool) -> Iterator[object]:
    from scapy.error import Scapy_Exception
    from scapy.utils import PcapReader, RawPcapReader

    for path in paths:
        try:
            with (RawPcapReader if raw else PcapReader)(str(path)) as reader:
                yield from reader
        except (Scapy_Exception, OSError, ValueError):
            continue


def scapy_records(paths: list[Path]) -> int:
    return sum(1 for _ in islice(scapy_packets(paths, raw=True), SLOW_PACKETS))


def scapy_headers(paths: list[Path]) -> int:
    from scapy.layers.inet import TCP, UDP

    count = 0
    for packet in islice(scapy_packets(paths, raw=False), SLOW_PACKETS):
        _ = packet.haslayer(TCP) or packet.haslayer(UDP)  # type: ignore[attr-defined]
        count += 1
    return count


def scapy_samples(paths: list[Path]) -> int:
    from scapy.layers.inet import IP, TCP, UDP
    from scapy.layers.inet6 import IPv6

    buffer = np.zeros((PIECE, 1500), np.uint8)
    count = row = 0
    for packet in islice(scapy_packets(paths, raw=False), SLOW_PACKETS):
        count += 1
        for layer, transport in ((IP, TCP), (IP, UDP), (IPv6, TCP), (IPv6, UDP)):
            if layer not in packet or transport not in packet or not len(packet[transport].payload):  # type: ignore[operator,index]
                continue
            ip = packet[layer]  # type: ignore[index]
            if layer is IP:
                ip.src = ip.dst = "0.0.0.0"
            else:
                ip.src = ip.dst = "::"
            head, segment = bytes(ip)[: 20 if layer is IP else 40], bytes(packet[transport])  # type: ignore[index]
            payload = bytes(packet[transport].payload)  # type: ignore[index]
            sample = head + segment[: 20 if transport is TCP else 8].ljust(20, b"\0") + payload
            buffer[row % PIECE] = np.frombuffer(sample[:1500].ljust(1500, b"\0"), np.uint8)
            row += 1
            break
    return count


def tshark(paths: Iterable[Path], fields: list[str]) -> int:
    """Packets printed by tshark; samples are not something that it can make."""
    count = 0
    for path in paths:
        command = ["tshark", "-n", "-r", str(path), "-c", str(SLOW_PACKETS - count), "-T", "fields"]
        command += [part for field in fields for part in ("-e", field)]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=False)
        count += done.stdout.count(b"\n")
        if count >= SLOW_PACKETS:
            break
    return count


def tshark_headers(paths: list[Path]) -> int:
    return tshark(paths, ["ip.src", "ip.dst", "ip.proto", "tcp.srcport", "tcp.dstport", "udp.srcport"])


OURS: Depths = {
    "records": our_records,
    "headers": our_headers,
    "samples": our_samples,
    "flows": our_flows,
}
TOOLS: dict[str, Depths] = {
    "dpkt": {"records": dpkt_records, "headers": dpkt_headers, "samples": dpkt_samples},
    "scapy": {"records": scapy_records, "headers": scapy_headers, "samples": scapy_samples},
    "tshark": {"headers": tshark_headers},
}


def packets_per_second(read: Callable[[list[Path]], int], paths: list[Path]) -> float:
    started = time.perf_counter()
    count = read(paths)
    return count / (time.perf_counter() - started)


def side_by_side(
    read: Callable[[list[Path]], int], ours: Callable[[list[Path]], int], paths: list[Path]
) -> tuple[float, float]:
    """A tool's packets a second, and how many times as fast ours is: medians over runs in turn.

    A shared machine is faster one second and slower the next, so each run of the tool stands between
    two of ours. Turns go on for four seconds, and three times at least unless they are slow.
    """
    rates: list[float] = []
    ratios: list[float] = []
    begun = time.perf_counter()
    before = packets_per_second(ours, paths)
    while not rates or (spent := time.perf_counter() - begun) < 4 or (len(rates) < 3 and spent < 15):
        rates.append(packets_per_second(read, paths))
        after = packets_per_second(ours, paths)
        ratios.append((before + after) / 2 / rates[-1])
        before = after
    return statistics.median(rates), statistics.median(ratios)


def copying(paths: list[Path]) -> Callable[[list[Path]], int]:
    """A tool that knows the samples of these captures already and does no more than copy them."""
    samples = packets = 0
    for piece in iter_samples(*paths):
        samples += len(piece)
        packets += piece.packets
    source = np.random.default_rng(0).integers(0, 256, (PIECE, 1500), np.uint8)
    buffer = np.empty_like(source)

    def copy(_: list[Path]) -> int:
        for begin in range(0, samples, PIECE):
            rows = min(PIECE, samples - begin)
            np.copyto(buffer[:rows], source[:rows])
        return packets

    return copy


def measure(console: Console, title: str, paths: list[Path]) -> None:
    table = Table("tool", "depth", "packets/s", "ours is", title=title)
    for depth, ours in OURS.items():
        rate, _ = side_by_side(ours, ours, paths)
        table.add_row("mtc", depth, f"{rate:,.0f}", "")
    for tool, depths in {**TOOLS, "np.copyto": {"samples": copying(paths)}}.items():
        if tool == "tshark" and shutil.which("tshark") is None:
            table.add_row(tool, "", "not installed", "")
            continue
        for depth, read in depths.items():
            rate, ratio = side_by_side(read, OURS[depth], paths)
            table.add_row(
                tool, depth, f"{rate:,.0f}", f"{ratio:,.1f} x" if ratio > 1 else f"1 / {1 / ratio:,.1f}"
            )
    console.print(table)


def measure_formats(console: Console, pcap: Path, pcapng: Path) -> None:
    table = Table("depth", "packets/s", "pcap is", title="the same packets as pcapng, by this package")
    for depth, ours in OURS.items():
        rate, ratio = side_by_side(lambda _, read=ours: read([pcapng]), ours, [pcap])  # type: ignore[misc]
        table.add_row(depth, f"{rate:,.0f}", f"{ratio:,.2f} x as fast")
    console.print(table)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--packets", type=int, default=2_000_000)
    parser.add_argument("--captures", type=Path, default=Path("../shared/data/labelled-captures/captures"))
    arguments = parser.parse_args()
    console = Console()
    with tempfile.TemporaryDirectory() as folder:
        pcap, pcapng = Path(folder, "traffic.pcap"), Path(folder, "traffic.pcapng")
        write_traffic(pcap, pcapng, arguments.packets)
        measure(console, f"{arguments.packets:,} generated packets, pcap", [pcap])
        measure_formats(console, pcap, pcapng)
    if arguments.captures.is_dir():
        paths = [source.path for source in expand_inputs([arguments.captures]) if source.path is not None]
        measure(console, f"{len(paths)} files of {arguments.captures}", paths)
    else:
        console.print(f"no captures in {arguments.captures}")


if __name__ == "__main__":
    main()
