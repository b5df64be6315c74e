"""Flow features of captures, one capture after the other, in bounded memory."""

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from mtc.capture import CaptureReader, Source, expand_inputs, open_capture
from mtc.errors import CaptureError, UsageError
from mtc.flows.features.conventions import Convention, convention_named
from mtc.flows.features.table import FeatureRows, FeatureTable
from mtc.packets import Selection

Progress = Callable[[Source, int], None]
"""Called with a capture and the bytes newly read of it."""


def iter_features(
    *captures: str | Path, convention: str = "corrected", strict: bool = False
) -> Iterator[tuple[str, FeatureRows]]:
    """CICFlowMeter's features of the flows of captures.

    Args:
        captures: Files, folders, zip members, or ``-`` for standard input.
        convention: ``cicids2017``, ``cicflowmeter4`` or ``corrected``, see docs/cicids2017.md.
        strict: Whether packets are read as the original tool reads them: IPv4 over Ethernet or raw IP only.

    Yields:
        Name of a capture and flows of it that have ended, in the order of their ends; the flows that are
        open at the end of the capture come last, by first packet.

    Raises:
        CaptureError: A capture cannot be read, or not to its end; what came before has been yielded.
        UsageError: There is no such convention, or no capture.
    """
    problems: list[str] = []
    found = convention_named(convention)
    for source, rows in features_of(expand_inputs(captures), found, problems, strict=strict):
        yield source.name, rows
    if problems:
        raise CaptureError(problems[0])


def features_of(
    sources: Iterable[Source],
    convention: Convention,
    problems: list[str],
    *,
    strict: bool = False,
    decapsulate: bool = True,
    selection: Selection | None = None,
    progress: Progress | None = None,
) -> Iterator[tuple[Source, FeatureRows]]:
    """The flows of captures, piece by piece.

    Args:
        sources: What ``mtc.capture.expand_inputs`` yields.
        convention: How flows are delimited and features computed.
        problems: One line is appended for each capture that cannot be read, or not to its end.
        strict: As for ``iter_features``.
        decapsulate: Whether tunnels are peeled down to the innermost IP packet; ``strict`` peels none.
        selection: Which packets count.
        progress: Called after each batch.

    Raises:
        CaptureError: Nothing could be read from any source; ``problems`` holds the lines for the others.
        UsageError: There is no source.
    """
    given = read = 0
    for source in sources:
        given += 1
        try:
            with open_capture(source) as reader:
                table = FeatureTable(convention, strict=strict, decapsulate=decapsulate, selection=selection)
                seen = packets = 0
                for batch in reader:
                    yield source, table.update(batch)
                    packets += len(batch)
                    if progress is not None:
                        progress(source, reader.bytes_read - seen)
                        seen = reader.bytes_read
                yield from ((source, rows) for rows in table.finish())
                read += _note_damage(reader, packets, problems)
        except CaptureError as error:
            problems.append(str(error))
    if not given:
        raise UsageError("no capture was given")
    if not read:
        raise CaptureError(problems.pop())


def _note_damage(reader: CaptureReader, packets: int, problems: list[str]) -> bool:
    """Whether anything was read; damage before the first packet leaves nothing."""
    if reader.damage is not None:
        problems.append(f"{reader.name}: {reader.damage}")
    return reader.damage is None or packets > 0
