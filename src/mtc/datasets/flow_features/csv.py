"""CSV files of CICFlowMeter, as dirty as they are served."""

import csv
from collections.abc import Collection, Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv

from mtc.capture.archives import MemberStream
from mtc.capture.streams import PlainStream, Pushback, StreamError
from mtc.datasets.flow_features.tables import FeatureRows, FeatureTable, label_codes, values_of
from mtc.errors import DatasetError

BLOCK_BYTES = 4 << 20
"""Text that is parsed at once."""

LONGEST_LINE = 1 << 20
"""A file with a longer line is no table."""


class CsvTable(FeatureTable):
    """A CSV file as text, which may end or break off anywhere."""

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
        self._text, self._below = text, below
        header, self._rest, self._position = _read_header(name, text)
        super().__init__(name, header, needed)
        self._parser = _Parser(len(header), self.columns.features.values(), self.columns.label)

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
            found = values_of(self.columns, arrays, parsed.num_rows)
            label = None if self.columns.label is None else arrays[self.columns.label]
            codes, names = label_codes(label, parsed.num_rows)
            if not len(unreadable):
                yield FeatureRows(found, codes, names, readable, self.rows + 1)
                continue
            values = np.full((rows, found.shape[1]), np.nan, order="F")
            labels = np.full(rows, -1, np.int32)
            values[readable], labels[readable] = found, codes
            yield FeatureRows(values, labels, names, readable, self.rows + 1)

    def _texts(self) -> Iterator[bytes]:
        """The text below the header, in blocks of whole lines."""
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
            block = b"".join(pieces)
            # Where the text breaks off, the line that it breaks off in is not whole.
            whole = ended and self.damage is None
            end = len(block) if whole else block.rfind(b"\n") + 1
            if len(block) - end > LONGEST_LINE:
                self.damage, ended = f"a line is longer than 1 MiB, at byte {self._position + end:,}", True
            self._position += end
            pending = block[end:]
            yield block[:end]


class _Parser:
    """Parses blocks of text with the fields of one header."""

    def __init__(self, fields: int, places: Collection[int], label: int | None) -> None:
        self._unreadable: list[int] = []
        label_place = [] if label is None else [label]
        self._texts = {str(i): pa.binary() for i in label_place}
        self._numbers = {str(i): pa.float64() for i in sorted(set(places))}
        self._names = [str(i) for i in range(fields)]
        self._parse = pa.csv.ParseOptions(quote_char=False, invalid_row_handler=self._note)

    def parse(self, text: bytes) -> tuple[Any, list[int]]:
        """A table of the columns wanted, named by their places, and the lines that are not in it.

        Args:
            text: Whole lines; blank ones do not count.

        Returns:
            The table, and the places of the lines whose number of fields is another than the header's.
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


def _read_header(name: str, text: Pushback) -> tuple[list[str], bytes, int]:
    """The fields of the first line that is not blank, what was read beyond it, and where that begins."""
    rest, position = b"", 0
    try:
        while True:
            line, newline, after = rest.partition(b"\n")
            if newline and line.strip():
                break
            if newline:
                rest, position = after, position + len(line) + 1
                continue
            data = text.read(1 << 16) if len(rest) < LONGEST_LINE else b""
            if not data:
                line, after = rest, b""
                break
            rest += data
    except StreamError as error:
        raise DatasetError(f"{name}: {error}") from None
    if not line.strip():
        raise DatasetError(f"{name}: empty")
    if b"\0" in line or len(line) >= LONGEST_LINE:
        raise DatasetError(f"{name}: not a table of flow features")
    fields = next(csv.reader([line.decode("utf-8-sig", errors="replace").strip("\r")]), [])
    return fields, after, position + len(line) + 1
