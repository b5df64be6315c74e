"""The format of a file, recognised by its first bytes and never from its name."""

from pathlib import Path
from typing import Final

SNIFF_BYTES: Final = 512

PCAP_MAGICS: Final = {
    # bytes: (byte order, nanoseconds of a unit of the fraction, bytes of file header, of record header)
    b"\xd4\xc3\xb2\xa1": ("little", 1000, 24, 16),
    b"\xa1\xb2\xc3\xd4": ("big", 1000, 24, 16),
    b"\x4d\x3c\xb2\xa1": ("little", 1, 24, 16),
    b"\xa1\xb2\x3c\x4d": ("big", 1, 24, 16),
    # Kuznetsov's patch of libpcap: interface, protocol and packet type in 8 or 12 more bytes a record
    b"\x34\xcd\xb2\xa1": ("little", 1000, 24, 24),
    b"\xa1\xb2\xcd\x34": ("big", 1000, 24, 24),
    # Ixia's lcap, by hardware and by software: the file header ends with the size of all records
    b"\xac\x01\x00\x1c": ("little", 1, 28, 16),
    b"\x1c\x00\x01\xac": ("big", 1, 28, 16),
    b"\xab\x01\x00\x1c": ("little", 1000, 28, 16),
    b"\x1c\x00\x01\xab": ("big", 1000, 28, 16),
}
PCAPNG_MAGIC: Final = b"\x0a\x0d\x0d\x0a"
PCAPNG_BYTE_ORDERS: Final = {b"\x4d\x3c\x2b\x1a": "little", b"\x1a\x2b\x3c\x4d": "big"}
SNOOP_MAGIC: Final = b"snoop\0\0\0"

COMPRESSIONS: Final = {
    b"\x1f\x8b\x08": "gzip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\xfd7zXZ\0": "xz",
    b"BZh": "bzip2",
}
ZIP_MAGICS: Final = (b"PK\x03\x04", b"PK\x05\x06", b"PK\x07\x08")

# Formats that other tools read: captures, and what captures may be packed in.
_FOREIGN_CAPTURES: Final = (
    (0, b"TR\x00", "HP-UX nettl"),
    (0, b"RTSS", "Microsoft Network Monitor 1"),
    (0, b"GMBU", "Microsoft Network Monitor 2"),
    (0, b"XCP\0", "Sniffer or NetXRay"),
    (0, b"VL\0\0", "NetXRay 1"),
    (0, b"TRSNIFF data    \x1a", "DOS Sniffer"),
    (0, b"iptrace 1.0", "AIX iptrace"),
    (0, b"iptrace 2.0", "AIX iptrace"),
    (0, b"\xaa\xaa\xaa\xaa", "InfoVista 5View"),
    (0, b"+---------+---------------+----------+", "K12 text"),
    (0, b"\x00\x00\x02\x00\x12\x05\x00\x10", "Tektronix K12"),
    (0, b"\x7fver", "WildPackets Peek"),
    (0, b"btsnoop\0", "btsnoop"),
    (0, b"\x05VNF", "Visual Networks"),
    (0, b"LOGG", "Vector binary log"),
    (0, b"LPKSHHRH", "systemd journal"),
)
_CONTAINERS: Final = (
    (0, b"\x04\x22\x4d\x18", "lz4 compression"),
    (0, b"\x1f\x9d", "compress (.Z) compression"),
    (0, b"7z\xbc\xaf\x27\x1c", "7-zip archive"),
    (0, b"Rar!\x1a\x07", "RAR archive"),
    (0, b"PK\x03\x04", "zip archive inside another file"),
    (257, b"ustar", "tar archive"),
)


def is_capture(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a capture of a format that is read here."""
    return (
        head[:4] in PCAP_MAGICS
        or head[:8] == SNOOP_MAGIC
        or (head[:4] == PCAPNG_MAGIC and head[8:12] in PCAPNG_BYTE_ORDERS)
    )


def header_bytes(head: bytes) -> int:
    """How many bytes of a capture that begins with ``head`` hold all that stands before its packets."""
    if head[:4] in PCAP_MAGICS:
        return PCAP_MAGICS[head[:4]][2]
    return 16 if head[:8] == SNOOP_MAGIC else 28


def compression(head: bytes) -> str | None:
    """The compression of a file that begins with ``head``: gzip, zstd, xz, bzip2, or None."""
    for magic, name in COMPRESSIONS.items():
        if head.startswith(magic):
            return name
    # zstd files may begin with a skippable frame
    if len(head) >= 4 and head[1:4] == b"\x2a\x4d\x18" and head[0] & 0xF0 == 0x50:
        return "zstd"
    return None


def is_zip(head: bytes) -> bool:
    """Whether a file that begins with ``head`` is a zip archive."""
    return head.startswith(ZIP_MAGICS)


def is_zip_file(path: Path) -> bool:
    """Whether there is a zip archive at a path; not so of what cannot be read, which opening it reports."""
    try:
        with path.open("rb", buffering=0) as opened:
            return is_zip(opened.read(4))
    except OSError:
        return False


def foreign_format(head: bytes) -> str | None:
    """The name of a known format that is not read here, or None."""
    for offset, magic, name in _FOREIGN_CAPTURES:
        if head[offset : offset + len(magic)] == magic:
            return f"{name} format"
    for offset, magic, name in _CONTAINERS:
        if head[offset : offset + len(magic)] == magic:
            return name
    return "Endace ERF format" if _is_erf(head) else None


def _is_erf(head: bytes) -> bool:
    """Whether the first records look like Endace's, which have no magic number.

    A record is 8 bytes of time (little-endian fixed point), type, flags, record length, loss
    counter and wire length (big-endian), then extension headers where the type's upper bit is set.
    """
    at, found = 0, 0
    while at + 16 <= len(head):
        seconds = int.from_bytes(head[at + 4 : at + 8], "little")
        kind, length = head[at + 8] & 0x7F, int.from_bytes(head[at + 10 : at + 12], "big")
        wirelen = int.from_bytes(head[at + 14 : at + 16], "big")
        plausible = 0 < kind <= 48 and 16 < length < wirelen + 512 and 600_000_000 < seconds < 1 << 32
        if not plausible or wirelen == 0:
            return False
        found += 1
        at += length
    return found > 0
