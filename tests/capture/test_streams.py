"""Captures that do not lie in a plain file: compressed, zipped, from a pipe."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from capture_writers import Packet, pcap, pcapng, read

from mtc.capture import Damage, expand_inputs, open_capture
from mtc.errors import CaptureError

RANDOM = np.random.default_rng(7)
PACKETS = [
    Packet(number * 1_000_000, RANDOM.integers(0, 64, 40 + number % 1400, np.uint8).tobytes(), 1500)
    for number in range(1500)
]
CAPTURE = pcap(PACKETS)


def skippable(data: bytes) -> bytes:
    return b"\x51\x2a\x4d\x18\x03\x00\x00\x00abc" + zstandard.compress(data)


COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": lambda data: gzip.compress(data, 1),
    "zstd": lambda data: zstandard.ZstdCompressor(write_checksum=True).compress(data),
    "xz": lambda data: lzma.compress(data, preset=0),
    "bzip2": lambda data: bz2.compress(data, 1),
}


def write(folder: Path, data: bytes) -> Path:
    path = folder / "capture"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", COMPRESSIONS)
@pytest.mark.parametrize("batch_bytes", [1, 100_000, 16 << 20])
def test_compressed(tmp_path: Path, name: str, batch_bytes: int) -> None:
    path = write(tmp_path, COMPRESSIONS[name](CAPTURE))
    assert read(path, batch_bytes=batch_bytes) == (PACKETS, None)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_members_and_frames_follow_each_other(tmp_path: Path, name: str) -> None:
    compress = COMPRESSIONS[name]
    parts = b"".join(compress(CAPTURE[i : i + 300_000]) for i in range(0, len(CAPTURE), 300_000))
    assert read(write(tmp_path, parts)) == (PACKETS, None)
    assert read(write(tmp_path, parts + bytes(512))) == (PACKETS, None)  # padded to a tape block


def test_a_skippable_zstd_frame_may_come_first(tmp_path: Path) -> None:
    assert read(write(tmp_path, skippable(CAPTURE))) == (PACKETS, None)


def test_compressed_twice(tmp_path: Path) -> None:
    assert read(write(tmp_path, zstandard.compress(gzip.compress(CAPTURE, 1)))) == (PACKETS, None)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_cut_stream_gives_what_it_holds(tmp_path: Path, name: str) -> None:
    compressed = COMPRESSIONS[name](CAPTURE)
    packets, damage = read(write(tmp_path, compressed[: len(compressed) * 3 // 4]))
    assert packets == PACKETS[: len(packets)]
    assert isinstance(damage, Damage)
    assert damage.reason == f"the {name} stream is cut off"
    assert damage.offset == 24 + sum(16 + len(packet.data) for packet in packets)
    assert len(packets) > 300


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_a_stream_cut_at_its_very_end_gives_all(tmp_path: Path, name: str) -> None:
    compressed = COMPRESSIONS[name](CAPTURE)
    packets, damage = read(write(tmp_path, compressed[:-1]))
    assert packets == PACKETS
    assert damage is not None
    assert damage.offset == len(CAPTURE)


def test_a_wrong_gzip_checksum_loses_no_packet(tmp_path: Path) -> None:
    compressed = bytearray(gzip.compress(CAPTURE, 1))
    compressed[-8] ^= 0xFF
    packets, damage = read(write(tmp_path, bytes(compressed)))
    assert packets == PACKETS
    assert damage is not None
    assert "gzip stream is damaged" in damage.reason
    assert damage.offset == len(CAPTURE)


@pytest.mark.parametrize("name", COMPRESSIONS)
def test_damage_in_the_middle_of_a_stream(tmp_path: Path, name: str) -> None:
    compressed = bytearray(COMPRESSIONS[name](CAPTURE))
    middle = len(compressed) * 3 // 4
    compressed[middle : middle + 64] = bytes(64)
    packets, damage = read(write(tmp_path, bytes(compressed)))
    assert damage is not None
    # Up to where the damage shows, bytes are what the decoder makes of them; before it they are whole.
    assert packets[:300] == PACKETS[:300]


def test_a_damaged_header_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="the gzip stream is cut off"):
        open_capture(write(tmp_path, gzip.compress(CAPTURE)[:12]))
    with pytest.raises(CaptureError, match="the xz stream is damaged"):
        open_capture(write(tmp_path, b"\xfd7zXZ\0" + bytes(200)))
    with pytest.raises(CaptureError, match="capture: empty"):
        open_capture(write(tmp_path, gzip.compress(b"")))
    with pytest.raises(CaptureError, match="capture: not a capture"):
        open_capture(write(tmp_path, gzip.compress(b"no capture")))


def test_a_decoder_is_not_given_gigabytes(tmp_path: Path) -> None:
    parameters = zstandard.ZstdCompressionParameters.from_level(1, window_log=30)
    compressor = zstandard.ZstdCompressor(compression_params=parameters)
    with compressor.stream_writer(file := io.BytesIO(), closefd=False) as writer:
        writer.write(CAPTURE)
    with pytest.raises(CaptureError, match="the zstd stream is damaged"):
        open_capture(write(tmp_path, file.getvalue()))


ZIP_METHODS = [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]


def make_zip(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path


@pytest.mark.parametrize("method", ZIP_METHODS)
def test_zip_members(tmp_path: Path, method: int) -> None:
    members = {"z.pcap": CAPTURE, "read.me": b"hello", "a/b": pcapng(PACKETS[:9])}
    members["c.gz"] = gzip.compress(CAPTURE, 1)
    path = make_zip(tmp_path / "download.zip", members, method)
    skipped: list[tuple[str, str]] = []
    sources = list(expand_inputs([path], on_skip=lambda *left_out: skipped.append(left_out)))
    assert [source.name for source in sources] == [f"{path}/z.pcap", f"{path}/a/b", f"{path}/c.gz"]
    assert skipped == [(f"{path}/read.me", "not a capture")]
    assert [read(source) for source in sources] == [(PACKETS, None), (PACKETS[:9], None), (PACKETS, None)]
    assert read(f"{path}/a/b") == (PACKETS[:9], None)
    assert [source.name for source in expand_inputs([f"{path}/a/b"])] == [f"{path}/a/b"]
    with open_capture(sources[0]) as reader:
        assert (reader.name, reader.size) == (f"{path}/z.pcap", len(CAPTURE))
        list(reader)
        assert reader.bytes_read == len(CAPTURE)


def test_a_wrong_zip_checksum_loses_no_packet(tmp_path: Path) -> None:
    path = make_zip(tmp_path / "a.zip", {"z": CAPTURE}, zipfile.ZIP_STORED)
    data = bytearray(path.read_bytes())
    at = data.index(PACKETS[-1].data)
    data[at] ^= 1
    path.write_bytes(data)
    packets, damage = read(f"{path}/z")
    assert packets[:-1] == PACKETS[:-1]
    assert len(packets) == len(PACKETS)
    assert damage == Damage(len(CAPTURE), "the zip member is damaged (its checksum differs)")


def test_useless_archives_say_so(tmp_path: Path) -> None:
    none = make_zip(tmp_path / "none.zip", {"a.txt": b"text"})
    broken = tmp_path / "broken.zip"
    broken.write_bytes(make_zip(tmp_path / "whole.zip", {"a": CAPTURE}).read_bytes()[:-40])
    for path, reason in ((none, "no capture in this archive"), (broken, "a zip archive that cannot be read")):
        (source,) = expand_inputs([path])
        with pytest.raises(CaptureError, match=reason):
            open_capture(source)
    with pytest.raises(CaptureError, match="zip"):
        open_capture(none)


def test_a_pipe(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    feeder = threading.Thread(target=path.write_bytes, args=(CAPTURE,))
    feeder.start()
    try:
        assert read(path) == (PACKETS, None)
    finally:
        feeder.join()


def test_standard_input() -> None:
    script = (
        "from mtc.capture import open_capture\n"
        "with open_capture('-') as reader:\n"
        "    print(reader.name, reader.format, reader.size, sum(map(len, reader)), reader.bytes_read)\n"
    )
    for data, size in ((CAPTURE, len(CAPTURE)), (COMPRESSIONS["gzip"](CAPTURE),) * 2):
        done = subprocess.run([sys.executable, "-c", script], input=data, capture_output=True, check=True)
        expected = size if isinstance(size, int) else len(size)
        assert done.stdout.decode() == f"- pcap None {len(PACKETS)} {expected}\n"


@pytest.mark.parametrize("make", [pcap, pcapng])
def test_a_live_stream_is_not_waited_for(tmp_path: Path, make: Callable[[list[Packet]], bytes]) -> None:
    whole = make(PACKETS[:2])
    first = len(make(PACKETS[:1]))
    path = tmp_path / "pipe"
    os.mkfifo(path)
    step = threading.Event()

    def feed() -> None:
        with path.open("wb", buffering=0) as pipe:
            pipe.write(whole[: first + 10])
            assert step.wait(10)
            pipe.write(whole[first + 10 :])

    feeder = threading.Thread(target=feed)
    feeder.start()
    try:
        with open_capture(path, live=True) as reader:
            batch = next(reader)
            assert [batch.packet(i).tobytes() for i in range(len(batch))] == [PACKETS[0].data]
            step.set()
            batch = next(reader)
            assert [batch.packet(i).tobytes() for i in range(len(batch))] == [PACKETS[1].data]
            assert next(reader, None) is None
            assert reader.damage is None
    finally:
        step.set()
        feeder.join()


def test_progress_is_told_in_bytes_of_the_file(tmp_path: Path) -> None:
    for data in (CAPTURE, COMPRESSIONS["gzip"](CAPTURE)):
        with open_capture(write(tmp_path, data), batch_bytes=200_000) as reader:
            seen = [reader.bytes_read for _ in reader]
            assert reader.size == len(data)
        assert seen == sorted(seen)
        assert seen[-1] == len(data)


def test_a_large_file_is_mapped_and_its_batches_copy_nothing(tmp_path: Path) -> None:
    assert len(CAPTURE) > 1 << 20
    path = write(tmp_path, CAPTURE)
    with open_capture(path, batch_bytes=100_000) as reader:
        batches = list(reader)
    assert all(batch.data is batches[0].data for batch in batches)
    assert len(batches[0].data) == len(CAPTURE)
    last = batches[-1]
    assert last.packet(len(last) - 1).tobytes() == PACKETS[-1].data


def test_a_file_that_shrinks_while_it_is_read_is_damage(tmp_path: Path) -> None:
    path = write(tmp_path, CAPTURE)
    with open_capture(path, batch_bytes=100_000) as reader:
        count = len(next(reader))
        os.truncate(path, 400_000)
        for batch in reader:
            assert int((batch.offsets + batch.caplens)[-1]) <= 400_000
            count += len(batch)
    assert 0 < count < len(PACKETS)
    assert reader.damage is not None
    assert reader.damage.reason == "a record cut off by the end of the file"
