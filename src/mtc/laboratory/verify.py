"""What a capture of the laboratory must hold for its label to be true."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address
from pathlib import Path

import numpy as np

from mtc.capture import open_capture
from mtc.flows import FlowTable
from mtc.laboratory.recipes import Expectation
from mtc.packets import decode

_NUMBERS = {"icmp": 1, "tcp": 6, "udp": 17}


@dataclass
class Counts:
    """What a capture holds.

    Attributes:
        packets, bytes: All packets, and their bytes on the wire.
        flows: Biflows of TCP and UDP.
        of_ports: Packets of the transports and ports asked for.
        payload: Payload bytes of these towards the server and away from it.
        others: Transport and ports of packets that are not of these, with their number.
    """

    packets: int = 0
    bytes: int = 0
    flows: int = 0
    of_ports: int = 0
    payload: list[int] = field(default_factory=lambda: [0, 0])
    others: dict[str, int] = field(default_factory=dict)


def count_packets(capture: Path, ports: Mapping[str, tuple[int, ...]], server: str) -> Counts:
    """Count a capture's packets, and those of the server's ports.

    Args:
        capture: A capture of the laboratory.
        ports: Transport -> ports of the server; a transport without ports means all of its packets.
        server: The server's IPv4 address.

    Raises:
        CaptureError: The capture cannot be read.
    """
    counts = Counts()
    address = int(IPv4Address(server))
    table = FlowTable()
    with open_capture(str(capture)) as reader:
        for batch in reader:
            headers = decode(batch, decapsulate=False)
            table.update(headers, batch)
            counts.packets += len(headers)
            counts.bytes += int(batch.wirelens.sum())
            matched = np.zeros(len(headers), np.bool_)
            for transport, numbers in ports.items():
                right = headers.protocol == _NUMBERS[transport]
                to = right & (headers.dst[:, 1] == address)
                away = right & (headers.src[:, 1] == address)
                if numbers:
                    to &= np.isin(headers.dst_port, numbers)
                    away &= np.isin(headers.src_port, numbers)
                counts.payload[0] += int(headers.payload_length[to].sum())
                counts.payload[1] += int(headers.payload_length[away].sum())
                matched |= to | away
            counts.of_ports += int(matched.sum())
            others = np.stack([headers.protocol, headers.src_port, headers.dst_port])[:, ~matched]
            kinds, times = np.unique(others, axis=1, return_counts=True)
            for (protocol, src, dst), number in zip(kinds.T.tolist(), times.tolist(), strict=True):
                name = f"protocol {protocol}, ports {src} and {dst}"
                counts.others[name] = counts.others.get(name, 0) + number
    counts.flows = len(table)
    return counts


def find_problem(counts: Counts, expect: Expectation, *, alone: bool) -> str:
    """Why a capture does not count as a recording; empty where it does.

    Args:
        counts: What it holds of the ports meant.
        expect: What it must hold.
        alone: Whether nothing else may be in it, as outside a tunnel.
    """
    if alone and counts.others:
        name, number = max(counts.others.items(), key=lambda item: item[1])
        return f"{number} packets beside the tunnel ({name})"
    if counts.of_ports < expect.packets:
        return f"{counts.of_ports} packets where {expect.packets} were expected"
    if sum(counts.payload) < expect.bytes:
        return f"{sum(counts.payload)} bytes of payload where {expect.bytes} were expected"
    if expect.both_ways and not all(counts.payload):
        return "only one side sent payload"
    return ""
