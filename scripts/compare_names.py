"""Compare server names with tshark's and JA4 with nDPI's, flow by flow, on captures with nDPI's results.

    python scripts/compare_names.py ../shared/data/labelled-captures ../shared/data/protocol-captures

Each folder holds ``captures/`` and ``ndpi-metadata.csv``. Prints the shares and every difference. Without
tshark only JA4 is compared.
"""

import csv
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from mtc.flows import SampleStream

FIELDS = (
    "ip.src", "ipv6.src", "ip.dst", "ipv6.dst", "tcp.srcport", "udp.srcport", "tcp.dstport", "udp.dstport",
    "tls.handshake.extensions_server_name", "gquic.tag.sni", "http.host",
)  # fmt: skip
ASKED = "tls.handshake.extensions_server_name or gquic.tag.sni or (http.host and tcp)"
EMPTY_SHA256 = "e3b0c44298fc"
Key = tuple[str, tuple[str, int], tuple[str, int]]


@dataclass(frozen=True)
class Difference:
    """One flow on which two programs disagree."""

    capture: str
    flow: Key
    theirs: str
    ours: str | None


def read_flows(capture: Path) -> dict[Key, dict[str, Any]]:
    """Flow records of a capture by five-tuple, the first of each."""
    with SampleStream(capture, build=False, names=True) as stream:
        for _ in stream:
            pass
        columns = stream.flows.records().columns()
        flows: dict[Key, dict[str, Any]] = {}
        for row in (dict(zip(columns, cells, strict=True)) for cells in zip(*columns.values(), strict=True)):
            flow = key(row["protocol"], row["src"], row["src_port"], row["dst"], row["dst_port"])
            flows.setdefault(flow, row)
        return flows


def key(protocol: str, src: str, src_port: int | str, dst: str, dst_port: int | str) -> Key:
    """Five-tuple, the same for both directions."""
    one, other = sorted(((_address(src), int(src_port)), (_address(dst), int(dst_port))))
    return protocol.lower(), one, other


def _address(text: str) -> str:
    if text.endswith(":::"):  # as nDPI's results write addresses that end in zeros
        text = text[:-1]
    try:
        return str(ip_address(text))
    except ValueError:
        return text


def tshark_names(capture: Path) -> dict[Key, str]:
    """The first server name that tshark finds in each flow; names of TLS and QUIC before those of HTTP."""
    fields = [argument for field in FIELDS for argument in ("-e", field)]
    command = ["tshark", "-n", "-r", str(capture), "-Y", ASKED, "-T", "fields", "-E", "separator=|", *fields]
    lines = subprocess.run(command, capture_output=True, text=True, check=False).stdout.splitlines()
    found: dict[Key, tuple[bool, str]] = {}
    for line in lines:
        cells = line.split("|")
        src, dst = (_innermost(cells[at] or cells[at + 1]) for at in (0, 2))
        protocol = "tcp" if cells[4] else "udp"
        ports = [int(_innermost(cells[at] or cells[at + 1])) for at in (4, 6)]
        handshake = cells[8] or cells[9]
        name = (handshake or cells[10]).split(",")[0]
        if not handshake and name.count(":") == 1:
            name = name.partition(":")[0]
        flow = key(protocol, src, ports[0], dst, ports[1])
        if flow not in found or (handshake and not found[flow][0]):
            found[flow] = bool(handshake), name
    return {flow: name for flow, (_, name) in found.items()}


def _innermost(cell: str) -> str:
    return cell.split(",")[-1]


def ndpi_writes(row: dict[str, Any]) -> str:
    """JA4 of a flow as the nDPI of the results writes it, which parts from the specification in three ways.

    The fourth character is ``i`` only where the server name is an address, also without any name; of ALPN
    the first two characters are used (and ``h0`` for ``h3`` alone); an empty list has the hash of nothing.
    """
    fingerprint: str = row["ja4"]
    first, ciphers, extensions = fingerprint.split("_")
    name = row["server_name"] if str(row["server_name_by"]).endswith("_sni") else None
    protocol = (row["alpn"] or ["00"])[0]
    written = {"h3": "h0"}.get(protocol, protocol[:2]) if first[0] == "q" else protocol[:2]
    extensions = EMPTY_SHA256 if extensions == "0" * 12 else extensions
    return (
        f"{first[:3]}{'i' if name and _is_address(name) else 'd'}{first[4:8]}{written}_{ciphers}_{extensions}"
    )


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


@dataclass
class Comparison:
    """Counts and differences of a folder or several."""

    names: int = 0
    name_differences: list[Difference] = field(default_factory=list)
    fingerprints: int = 0
    as_specified: int = 0
    fingerprint_differences: list[Difference] = field(default_factory=list)


def compare(folder: Path, total: Comparison, *, names: bool) -> None:
    """Add a folder's captures to ``total``."""
    fingerprints: dict[str, dict[Key, str]] = {}
    with (folder / "ndpi-metadata.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            flow = key(
                row["l4"], row["src"], int(row["src_port"] or 0), row["dst"], int(row["dst_port"] or 0)
            )
            if row["ja4"]:
                fingerprints.setdefault(row["capture"], {})[flow] = row["ja4"]
    for capture in sorted((folder / "captures").iterdir()):
        expected = fingerprints.get(capture.name, {})
        theirs = tshark_names(capture) if names else {}
        if expected or theirs:
            _compare_capture(capture, expected, theirs, total)


def _compare_capture(
    capture: Path, expected: dict[Key, str], theirs: dict[Key, str], total: Comparison
) -> None:
    ours = read_flows(capture)
    differ = partial(Difference, capture.name)
    for flow, name in theirs.items():
        row = ours.get(flow, {})
        total.names += 1
        if row.get("server_name") != name:
            total.name_differences.append(differ(flow, name, row.get("server_name")))
    for flow, fingerprint in expected.items():
        row = ours.get(flow, {})
        total.fingerprints += 1
        total.as_specified += row.get("ja4") == fingerprint
        if not row.get("ja4") or fingerprint not in (row["ja4"], ndpi_writes(row)):
            total.fingerprint_differences.append(differ(flow, fingerprint, row.get("ja4")))


def _lines(total: Comparison) -> Iterator[str]:
    names, prints = total.name_differences, total.fingerprint_differences
    if total.names:
        yield f"server names equal to tshark's: {total.names - len(names)} of {total.names} flows"
    equal = total.fingerprints - len(prints)
    yield f"JA4 equal to nDPI's: {total.as_specified} of {total.fingerprints} flows"
    yield f"JA4 equal but for the three deviations of nDPI: {equal} of {total.fingerprints} flows"
    for difference in (*names, *prints):
        yield f"  {difference.capture} {difference.flow}: {difference.theirs} there, {difference.ours} here"


def main() -> None:
    """Compare the folders of the command line."""
    total = Comparison()
    for folder in sys.argv[1:]:
        compare(Path(folder), total, names=shutil.which("tshark") is not None)
    print("\n".join(_lines(total)))


if __name__ == "__main__":
    main()
