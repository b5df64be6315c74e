"""Bounds-checked reading of foreign bytes."""

from collections.abc import Iterable, Iterator


class TruncatedError(Exception):
    """A field ends behind the bytes that are there; never leaves ``mtc.flows.protocols``."""


class Cursor:
    """A position in bytes; integers are big-endian.

    Args:
        data: the bytes.
        at: where reading begins.
    """

    __slots__ = ("at", "data")

    def __init__(self, data: bytes, at: int = 0) -> None:
        self.data = data
        self.at = at

    @property
    def left(self) -> int:
        """Number of bytes that are not read yet."""
        return len(self.data) - self.at

    def take(self, length: int) -> bytes:
        """The next ``length`` bytes.

        Raises:
            TruncatedError: there are fewer.
        """
        end = self.at + length
        if end > len(self.data):
            raise TruncatedError
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def number(self, width: int) -> int:
        """An unsigned integer of ``width`` bytes."""
        return int.from_bytes(self.take(width), "big")

    def vector(self, width: int) -> bytes:
        """Bytes that follow their length, itself ``width`` bytes wide."""
        return self.take(self.number(width))

    def varint(self) -> int:
        """A variable-length integer of QUIC (RFC 9000, section 16)."""
        first = self.number(1)
        rest = (1 << (first >> 6)) - 1
        return (first & 0x3F) << 8 * rest | self.number(rest)


def numbers(data: bytes, width: int = 2) -> tuple[int, ...]:
    """Unsigned integers that lie one after the other; an incomplete last one is ignored."""
    return tuple(
        int.from_bytes(data[at : at + width], "big") for at in range(0, len(data) - width + 1, width)
    )


def vectors(data: bytes, width: int) -> Iterator[bytes]:
    """Vectors that lie one after the other, up to the first that is cut off."""
    cursor = Cursor(data)
    while cursor.left >= width:
        try:
            yield cursor.vector(width)
        except TruncatedError:
            return


def join_fragments(fragments: Iterable[tuple[int, bytes]]) -> bytes:
    """Bytes from offset 0 to the first gap, of fragments in any order that may repeat and overlap.

    Args:
        fragments: offset and bytes of each. Where two overlap, the one that begins first is used.
    """
    pieces: list[bytes] = []
    end = 0
    for offset, data in sorted(fragments, key=lambda fragment: fragment[0]):
        if offset > end:
            break
        if offset + len(data) > end:
            pieces.append(data[end - offset :])
            end = offset + len(data)
    return b"".join(pieces)


def text(data: bytes) -> str:
    """Foreign bytes as printable ASCII: what is not printable, and the backslash, as ``\\xNN``."""
    if data.isascii() and (plain := data.decode("ascii")).isprintable() and "\\" not in plain:
        return plain
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x5C else f"\\x{byte:02x}" for byte in data)
