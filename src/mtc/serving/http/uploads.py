"""Captures from a request's body to files, as they come in, and no byte beyond the limits."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from mtc.serving.http.refusal import Refusal
from mtc.serving.http.settings import Limits
from mtc.serving.http.storage import display_name

WRITTEN_AT_ONCE = 1 << 20


@dataclass(slots=True)
class Upload:
    """A capture on disk.

    Attributes:
        name: What the client calls it, made fit for showing.
        path: Where it lies, under a name of our own.
        size: Bytes.
    """

    name: str
    path: Path
    size: int = 0


class Files:
    """The files of one upload, written one after the other."""

    def __init__(self, folder: Path, limits: Limits, take: Callable[[int], None]) -> None:
        """Write into ``folder``; ``take`` is called before bytes are written, and may refuse them."""
        self.uploads: list[Upload] = []
        self.whole = False
        self._folder = folder
        self._limits = limits
        self._take = take
        self._file: IO[bytes] | None = None
        self._held = bytearray()
        self._received = 0

    def begin(self, name: str | None) -> None:
        """A new file follows."""
        if len(self.uploads) >= self._limits.upload_files:
            raise Refusal(413, f"more than {self._limits.upload_files} captures in one upload", "files")
        upload = Upload(display_name(name), self._folder / f"capture-{len(self.uploads)}")
        self.uploads.append(upload)
        self._file = upload.path.open("xb")

    def add(self, data: bytes) -> None:
        """More bytes of the file."""
        self._received += len(data)
        if self._received > self._limits.upload_bytes:
            raise too_large(self._limits)
        self._take(len(data))
        self.uploads[-1].size += len(data)
        self._held += data

    def end(self) -> None:
        """The file ends here."""
        self.write()
        if self._file is not None:
            self._file.close()
            self._file = None

    def write(self) -> None:
        """Put what is held on disk."""
        if self._file is not None and self._held:
            self._file.write(self._held)
        self._held.clear()

    def complete(self) -> None:
        """All files have come."""
        self.whole = True

    @property
    def held(self) -> int:
        """Bytes that are not on disk yet."""
        return len(self._held)


def too_large(limits: Limits) -> Refusal:
    """The refusal of an upload that is too large."""
    return Refusal(413, f"an upload may have {limits.upload_bytes:,} bytes", "size")


async def receive(
    request: Request, name: str | None, folder: Path, limits: Limits, take: Callable[[int], None]
) -> list[Upload]:
    """Write what a request carries to files: the body itself, or the files of a form.

    Args:
        request: Its body is read as it comes in.
        name: What a capture that is the body itself is called.
        folder: Where files are put, under names of our own.
        limits: Size, number, and patience.
        take: Called with bytes before they are written.

    Raises:
        Refusal: The upload passes a limit, stops, or is no form.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.upload_bytes + (1 << 20):
        raise too_large(limits)
    files = Files(folder, limits, take)
    kind, options = parse_options_header(request.headers.get("content-type"))
    form = None
    if kind == b"multipart/form-data":
        form = _form(options.get(b"boundary", b""), files)
    else:
        files.begin(name)
    try:
        async for chunk in _chunks(request, limits.upload_idle_s):
            if form is None:
                files.add(chunk)
            else:
                form.write(chunk)
            if files.held >= WRITTEN_AT_ONCE:
                await asyncio.to_thread(files.write)
        if form is not None:
            form.finalize()
            if not files.whole:
                raise Refusal(400, "the form is cut off", "form")
    except FormParserError as error:
        raise Refusal(400, f"no form that can be read: {error}", "form") from None
    except ClientDisconnect:
        raise Refusal(400, "the client went away", "gone") from None
    finally:
        files.end()
    if not any(upload.size for upload in files.uploads):
        raise Refusal(422, "no capture in this upload", "empty")
    return files.uploads


async def _chunks(request: Request, patience_s: float) -> AsyncIterator[bytes]:
    stream = request.stream().__aiter__()
    while True:
        try:
            yield await asyncio.wait_for(stream.__anext__(), patience_s)
        except StopAsyncIteration:
            return
        except TimeoutError:
            raise Refusal(408, f"nothing came for {patience_s:g} seconds", "idle") from None


def _form(boundary: bytes, files: Files) -> MultipartParser:
    """A parser that puts the files of a form where they belong; its other fields are refused."""
    headers: dict[bytes, bytes] = {}
    names: list[bytes] = [b"", b""]

    def part_begin() -> None:
        headers.clear()

    def header_field(data: bytes, start: int, end: int) -> None:
        names[0] += data[start:end]

    def header_value(data: bytes, start: int, end: int) -> None:
        names[1] += data[start:end]

    def header_end() -> None:
        headers[names[0].lower()] = names[1]
        names[:] = [b"", b""]

    def headers_finished() -> None:
        _, options = parse_options_header(headers.get(b"content-disposition"))
        filename = options.get(b"filename")
        if filename is None:
            raise Refusal(422, "a form of captures has only files; settings belong to the address", "form")
        files.begin(filename.decode("utf-8", "replace"))

    def part_data(data: bytes, start: int, end: int) -> None:
        files.add(data[start:end])

    callbacks: dict[str, Any] = {
        "on_part_begin": part_begin,
        "on_part_data": part_data,
        "on_part_end": files.end,
        "on_header_field": header_field,
        "on_header_value": header_value,
        "on_header_end": header_end,
        "on_headers_finished": headers_finished,
        "on_end": files.complete,
    }
    try:
        return MultipartParser(boundary, callbacks)  # type: ignore[arg-type]
    except FormParserError as error:
        raise Refusal(400, f"no form that can be read: {error}", "form") from None
