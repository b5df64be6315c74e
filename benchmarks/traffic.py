"""Generated traffic for the benchmarks: 64, 594 and 1518 bytes, TCP and UDP, some VLAN and IPv6."""

import struct
from pathlib import Path

import numpy as np

DISTINCT = 20_000  # packets that are made one by one; the file repeats them
SIZES = (64, 594, 1518)


def packet(number: int, size: int, random: np.random.Generator) -> bytes:
    """One Ethernet frame of ``size`` bytes (the check sequence not counted); every field is filled in."""
    vlan, ipv6, tcp = number % 10 == 0, number % 5 == 0, number % 3 != 0
    ether = bytes.fromhex("020000000001020000000002") + (struct.pack(">HH", 0x8100, 42) if vlan else b"")
    ether += struct.pack(">H", 0x86DD if ipv6 else 0x0800)
    rest = size - 4 - len(ether) - (40 if ipv6 else 20)
    source, target = (
        struct.pack(">I", 0x0A000000 + number % 5003),
        struct.pack(">I", 0xC0A80000 + number % 211),
    )
    if ipv6:
        network = struct.pack(">IHBB", 6 << 28, rest, 6 if tcp else 17, 64) + source * 4 + target * 4
    else:
        network = struct.pack(">BBHHHBBH", 0x45, 0, 20 + rest, number & 0xFFFF, 0, 64, 6 if tcp else 17, 0)
        network += source + target
    ports = struct.pack(">HH", 20_000 + number % 9973, 443)
    transport = ports + (
        struct.pack(">IIBBHHH", number, 0, 0x50, 0x18, 8192, 0, 0) if tcp else struct.pack(">HH", rest, 0)
    )
    payload = random.integers(1, 256, max(0, rest - len(transport)), np.uint8).tobytes()
    return (ether + network + transport + payload)[: size - 4].ljust(size - 4, b"\0")


def write_traffic(pcap: Path, pcapng: Path, packets: int) -> None:
    """Write the same ``packets`` packets as pcap and as pcapng."""
    random = np.random.default_rng(1)
    sizes = random.choice(SIZES, DISTINCT)
    classic, modern = [], []
    for number, size in enumerate(sizes.tolist()):
        data = packet(number, size, random)
        seconds, micros = 1_700_000_000 + number // 1000, number % 1000 * 1000
        classic.append(struct.pack("<IIII", seconds, micros, len(data), len(data)) + data)
        ticks, padding = seconds * 1_000_000 + micros, bytes(-len(data) % 4)
        length = 32 + len(data) + len(padding)
        head = struct.pack("<IIIIIII", 6, length, 0, ticks >> 32, ticks & 0xFFFF_FFFF, len(data), len(data))
        modern.append(head + data + padding + struct.pack("<I", length))
    section = struct.pack("<IIIHHqI", 0x0A0D0D0A, 28, 0x1A2B3C4D, 1, 0, -1, 28)
    interface = struct.pack("<IIHHII", 1, 20, 1, 0, 0, 20)
    for path, head, records in (
        (pcap, struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262_144, 1), classic),
        (pcapng, section + interface, modern),
    ):
        block = b"".join(records)
        with path.open("wb") as file:
            file.write(head)
            for _ in range(packets // DISTINCT):
                file.write(block)
            file.write(b"".join(records[: packets % DISTINCT]))
