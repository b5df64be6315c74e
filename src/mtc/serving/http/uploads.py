"""Receives captures from a request's body into files, within the limits of size, number, pace and disk."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from mtc.serving.http.api_error import ApiError
from mtc.serving.http.settings import Limits
from mtc.serving.http.storage import deleted, disk_error, display_name

WRITTEN_AT_ONCE = 1 << 20
LOOK_EVERY_S = 1.0
"""Seconds after which a body that does not come is looked at again."""


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
        """Write into ``folder``; ``take`` is called with a number of bytes before they are written."""
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
            raise ApiError(413, f"more than {self._limits.upload_files} captures in one upload", "files")
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
        self.close()

    def close(self) -> None:
        """Close the file; what is held is dropped."""
        self._held.clear()
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


def too_large(limits: Limits) -> ApiError:
    """The error of an upload that is too large."""
    return ApiError(413, f"an upload may have {limits.upload_bytes:,} bytes", "size")


async def receive(
    request: Request,
    name: str | None,
    folder: Path,
    limits: Limits,
    take: Callable[[int], None],
    stopped: Callable[[], bool],
) -> list[Upload]:
    """Write what a request carries to files: the body itself, or the files of a form.

    Args:
        request: Its body is read as it comes in.
        name: What a capture that is the body itself is called.
        folder: Where files are put, under names of our own.
        limits: Size, number, and patience.
        take: Called with a number of bytes before they are written.
        stopped: Whether the upload is no longer wanted; asked once a second.

    Raises:
        ApiError: The upload passes a limit, stops, is too slow, is no form, or finds the disk full.
    """
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limits.upload_bytes + (1 << 20):
        raise too_large(limits)
    files = Files(folder, limits, take)
    try:
        await _receive_files(request, name, limits, files, stopped)
    except FormParserError as error:
        raise ApiError(400, f"no form that can be read: {error}", "form") from None
    except ClientDisconnect:
        raise ApiError(400, "the client went away", "gone") from None
    except OSError as error:
        raise disk_error(error) from None
    finally:
        files.close()
    if not any(upload.size for upload in files.uploads):
        raise ApiError(422, "no capture in this upload", "empty")
    return files.uploads


async def _receive_files(
    request: Request, name: str | None, limits: Limits, files: Files, stopped: Callable[[], bool]
) -> None:
    kind, options = parse_options_header(request.headers.get("content-type"))
    form = None
    if kind == b"multipart/form-data":
        form = _form(options.get(b"boundary", b""), files)
    else:
        files.begin(name)
    async for chunk in read_body(request, limits, stopped):
        if form is None:
            files.add(chunk)
        else:
            form.write(chunk)
        if files.held >= WRITTEN_AT_ONCE:
            await asyncio.to_thread(files.write)
    if form is not None:
        form.finalize()
        if not files.whole:
            raise ApiError(400, "the form is cut off", "form")
    files.end()


async def read_body(
    request: Request, limits: Limits, stopped: Callable[[], bool] = lambda: False
) -> AsyncIterator[bytes]:
    """Yield a request's body as it comes in.

    Raises:
        ApiError: Nothing came for ``limits.upload_idle_s``; the body came more slowly than
            ``limits.least_rate``; or it is no longer wanted.
    """
    stream = request.stream().__aiter__()
    began = last = time.monotonic()
    received = 0
    while True:
        coming = asyncio.ensure_future(anext(stream))
        try:
            while not (await asyncio.wait({coming}, timeout=LOOK_EVERY_S))[0]:
                now = time.monotonic()
                if stopped():
                    raise deleted()
                if now - last > limits.upload_idle_s:
                    raise ApiError(408, f"nothing came for {limits.upload_idle_s:g} seconds", "idle")
                if now - began > limits.header_s and received < limits.least_rate * (now - began):
                    raise too_slow(limits)
        finally:
            if not coming.done():
                coming.cancel()
        try:
            chunk = coming.result()
        except StopAsyncIteration:
            return
        last = time.monotonic()
        received += len(chunk)
        if last - began > limits.header_s and received < limits.least_rate * (last - began):
            raise too_slow(limits)
        yield chunk


def too_slow(limits: Limits) -> ApiError:
    """The error of a body that comes too slowly."""
    return ApiError(408, f"less than {limits.least_rate:,} bytes a second came in", "slow")


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
            raise ApiError(422, "a form of captures has only files; settings belong to the address", "form")
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
        raise ApiError(400, f"no form that can be read: {error}", "form") from None
