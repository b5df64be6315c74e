"""CSV files of CICFlowMeter, as dirty as they are served."""

import csv
import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mtc.capture.archives import MemberStream
from mtc.capture.formats import SNIFF_BYTES
from mtc.capture.streams import ByteStream, PlainStream, Pushback, StreamError
from mtc.datasets.flow_features.columns import match_columns
from mtc.datasets.flow_features.dialect import (
    Recoded,
    find_encoding,
    find_separator,
    scan_records,
    split_record,
)
from mtc.datasets.flow_features.tables import FeatureRows, FeatureTable, label_codes, values_of
from mtc.errors import DatasetError

BLOCK_BYTES = 4 << 20
"""Text that is parsed at once."""

LONGEST_RECORD = 1 << 20
"""A file with a longer record is no table."""

_SEPARATOR_LINE = re.compile("sep=.", re.IGNORECASE)
"""What Excel writes as the first line; the header shows the separator anyway."""


class CsvTable(FeatureTable):
    """A CSV file as text, which may end or break off anywhere.

    Header and rows are read by the same rules: RFC 4180, with any separator of ``SEPARATORS`` and any line
    end, in UTF-8 or any encoding that agrees with ASCII, or UTF-16 or UTF-32 with a byte order mark.
    """

    format = "csv"

    def __init__(
        self,
        name: str,
        text: Pushback,
        below: PlainStream | MemberStream,
        needed: Collection[str],
    ) -> None:
        """Use ``open_table``.

        Raises:
            DatasetError: There is no header with the features needed.
        """
        encoding = find_encoding(text.peek(SNIFF_BYTES))
        self._text: ByteStream = text if encoding is None else Recoded(text, encoding)
        self._below = below
        header = _read_header(name, self._text)
        self._rest, self._position, self._separator = header.rest, header.position, header.separator
        super().__init__(name, header.fields, needed)
        self._parser = _Parser(
            len(header.fields), self.columns.features.values(), self.columns.label, header.separator
        )

    @property
    def bytes_read(self) -> int:
        """Bytes of the file, or of the archive's member, that were read so far."""
        return self._below.bytes_read

    def _blocks(self) -> Iterator[FeatureRows]:
        for text in self._texts():
            if not text.strip():
                continue
            parsed, unreadable = self._parser.parse(text)
            rows = parsed.num_rows + len(unreadable)
            readable = np.ones(rows, np.bool_)
            readable[unreadable] = False
            arrays = {int(name): parsed[name].combine_chunks() for name in parsed.column_names}
            found, words = values_of(self.columns, arrays, parsed.num_rows, commas=self._separator != ",")
            label = None if self.columns.label is None else arrays[self.columns.label]
            codes, names = label_codes(label, parsed.num_rows)
            if not len(unreadable):
                yield FeatureRows(found, codes, names, readable, words, self.rows + 1)
                continue
            values = np.full((rows, found.shape[1]), np.nan, order="F")
            labels = np.full(rows, -1, np.int32)
            has_words = np.zeros(rows, np.bool_)
            values[readable], labels[readable], has_words[readable] = found, codes, words
            yield FeatureRows(values, labels, names, readable, has_words, self.rows + 1)

    def _texts(self) -> Iterator[bytes]:
        """The text below the header, in blocks of whole records."""
        pending, ended = self._rest, False
        while not ended:
            pieces, size = [pending], len(pending)
            try:
                while size < BLOCK_BYTES and not ended:
                    data = self._text.read(BLOCK_BYTES - size)
                    ended = not data
                    pieces.append(data)
                    size += len(data)
            except StreamError as error:
                self.damage, ended = f"{error}, at byte {self._position + size:,} of the text", True
            block = bytearray(b"".join(pieces))
            # Where the text breaks off, the record that it breaks off in is not whole.
            whole = ended and self.damage is None
            end = scan_records(np.frombuffer(block, np.uint8), ord(self._separator), whole, -1)
            end = len(block) if whole else end
            if len(block) - end > LONGEST_RECORD:
                at = self._position + end
                self.damage, ended = f"a line or quoted field is longer than 1 MiB, at byte {at:,}", True
            self._position += end
            pending = bytes(block[end:])
            yield bytes(block[:end])


class _Parser:
    """Parses blocks of text with the fields of one header."""

    def __init__(self, fields: int, places: Collection[int], label: int | None, separator: str) -> None:
        self._unreadable: list[int] = []
        label_place = [] if label is None else [label]
        self._texts = {str(i): pa.binary() for i in label_place}
        self._numbers = {str(i): pa.float64() for i in sorted(set(places))}
        self._names = [str(i) for i in range(fields)]
        self._parse = pa.csv.ParseOptions(
            delimiter=separator, newlines_in_values=True, invalid_row_handler=self._note
        )

    def parse(self, text: bytes) -> tuple[Any, list[int]]:
        """A table of the columns wanted, named by their places, and the records that are not in it.

        Args:
            text: Whole records; blank lines do not count.

        Returns:
            The table, and the places of the records whose number of fields is another than the header's.
        """
        try:
            table = self._read(text, self._numbers | self._texts)
        except pa.ArrowInvalid:
            # Somewhere stands a word where a number should; only this block is parsed the slow way.
            table = self._read(text, dict.fromkeys(self._numbers, pa.binary()) | self._texts)
            table = _as_text(table, self._numbers)
        return table, sorted(self._unreadable)

    def _read(self, text: bytes, types: dict[str, Any]) -> Any:
        self._unreadable.clear()
        return pa.csv.read_csv(
            pa.BufferReader(text),
            read_options=pa.csv.ReadOptions(
                column_names=self._names, use_threads=False, block_size=len(text) + 1
            ),
            parse_options=self._parse,
            convert_options=pa.csv.ConvertOptions(
                column_types=types, include_columns=list(types), check_utf8=False
            ),
        )

    def _note(self, row: Any) -> str:
        self._unreadable.append(row.number - 1)
        return "skip"


def _as_text(table: Any, names: Collection[str]) -> Any:
    """Columns of bytes as columns of text, which any bytes are in Latin-1."""
    for name in names:
        texts = [None if value is None else value.decode("latin-1") for value in table[name].to_pylist()]
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(texts, pa.string()))
    return table


class _Header(NamedTuple):
    """Fields of the header, the separator, what was read beyond it, and the position of that."""

    fields: list[str]
    separator: str
    rest: bytes
    position: int


def _read_header(name: str, text: ByteStream) -> _Header:
    """Read the first record that is not blank, or the second where the first is Excel's ``sep=;``.

    Raises:
        DatasetError: There is none, or it cannot be the header of a table.
    """
    rest, begin, ended = bytearray(), 0, False
    try:
        while True:
            found = scan_records(np.frombuffer(rest, np.uint8)[begin:], ord(","), ended, 1)
            end = begin + found if found else len(rest)
            line = rest[begin:end].decode("utf-8-sig", errors="replace").strip()
            if found and _SEPARATOR_LINE.fullmatch(line):
                begin = end
            elif found or ended or len(rest) - begin >= LONGEST_RECORD:
                break
            else:
                data = text.read(1 << 16)
                ended = not data
                rest += data
    except StreamError as error:
        raise DatasetError(f"{name}: {error}") from None
    if not line:
        raise DatasetError(f"{name}: empty")
    if "\0" in line or end - begin >= LONGEST_RECORD:
        raise DatasetError(f"{name}: not a table of flow features")
    try:
        separator = find_separator(line, _known)
        return _Header(split_record(line, separator), separator, bytes(rest[end:]), end)
    except csv.Error as error:
        raise DatasetError(f"{name}: not a table of flow features (header: {error})") from None


def _known(names: Iterable[str]) -> int:
    return len(match_columns(list(names)).features)
