"""Dialect of a text table: encoding, separator, quotes and line ends."""

import codecs
import csv
from collections.abc import Callable, Iterable

import numba
import numpy as np
from numpy.typing import NDArray

from mtc.capture.streams import ByteStream, ReadInto

SEPARATORS = (",", ";", "\t", "|")
ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte order marks, the longer first: that of UTF-16 begins that of UTF-32."""

_NEWLINE, _RETURN, _QUOTE = 10, 13, 34


def find_encoding(head: bytes) -> str | None:
    """The encoding that the first bytes of a text show; None for UTF-8, ASCII and the like.

    Text of two bytes a character without a mark is known by its zeros, every other byte of ASCII.
    """
    for mark, encoding in ENCODINGS:
        if head.startswith(mark):
            return encoding
    even, odd = head[0::2], head[1::2]
    if len(odd) > 1 and not any(odd[:64]) and all(even[:64]):
        return "utf-16-le"
    if len(odd) > 1 and not any(even[:64]) and all(odd[:64]):
        return "utf-16-be"
    return None


def decode_text(data: bytes) -> str:
    """A whole text in UTF-8, UTF-16 or UTF-32.

    Raises:
        UnicodeDecodeError: It is none of them.
    """
    return data.decode(find_encoding(data) or "utf-8-sig").removeprefix("\ufeff")


class Recoded(ReadInto):
    """A stream of text in another encoding, as UTF-8; what cannot be decoded becomes U+FFFD."""

    def __init__(self, source: ByteStream, encoding: str) -> None:
        """Read ``source``."""
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)("replace")
        self._ended = False

    def read(self, size: int) -> bytes:
        """See ``mtc.capture.streams.ByteStream``; UTF-8 is at most 1.5 times as long as UTF-16."""
        while not self._ended:
            data = self._source.read(max(size // 2, 1))
            self._ended = not data
            if text := self._decoder.decode(data, final=self._ended):
                return text.encode()
        return b""


def split_record(record: str, separator: str) -> list[str]:
    """Fields of one record by RFC 4180.

    Raises:
        csv.Error: A field is too long for a name.
    """
    return next(csv.reader([record.strip("\r\n")], delimiter=separator), [])


def find_separator(record: str, known: Callable[[Iterable[str]], int]) -> str:
    """The separator by which the header has most names that are known; a comma where none has any.

    Args:
        record: The first record of the table.
        known: How many of some names are known.

    Raises:
        csv.Error: A field is too long for a name.
    """
    return max(SEPARATORS, key=lambda separator: known(split_record(record, separator)))


@numba.njit(cache=True, nogil=True)
def scan_records(text: NDArray[np.uint8], separator: int, ended: bool, most: int) -> int:
    """Find where the last whole record ends, and turn single carriage returns into line feeds.

    A quote opens a field only where the field begins (RFC 4180), so a line break inside quotes ends no
    record and one behind an inch sign does.

    Args:
        text: uint8, from the beginning of a record; changed in place.
        separator: The byte between fields.
        ended: Whether the text ends here, so that a carriage return at its end ends a record.
        most: Stop behind so many records that are not blank; -1 for all that there are.

    Returns:
        The position behind the last record's end; 0 where no record, or fewer than ``most``, end.
    """
    begin, quoted, closing = True, False, False  # at a field's start; inside quotes; behind a quote inside
    end, filled, blank = 0, 0, True
    for i in range(len(text)):
        c = text[i]
        if quoted:
            if closing and c != _QUOTE:
                quoted = closing = False  # the quote before this byte closed the field
            else:
                closing = not closing if c == _QUOTE else False
                continue
        if c == _RETURN:
            if i + 1 == len(text):
                if not ended:
                    break
            elif text[i + 1] == _NEWLINE:
                continue
            text[i] = c = _NEWLINE
        if c == _NEWLINE:
            end = i + 1
            filled += not blank
            begin = blank = True
            if filled == most:
                break
        elif c == separator:
            begin, blank = True, False
        else:
            quoted = begin and c == _QUOTE
            begin = False
            blank = blank and (c == 32 or c == 9)
    return end if most < 0 or filled == most else 0
