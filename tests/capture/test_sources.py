"""Finding captures among what a user names, and refusing the rest by name."""

import gzip
import os
import pickle
import sys
from pathlib import Path

import pytest
from capture_writers import Packet, pcap, pcapng, read

from mtc.capture import expand_inputs, open_capture
from mtc.errors import CaptureError, UnsupportedFormat

CAPTURE = pcap([Packet(0, b"x", 1)])


def test_a_folder_is_walked_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name, data in {
        "b/2.bin": CAPTURE,
        "b/10.pcap": CAPTURE,
        "a.pcapng": pcapng([]),
        "c.gz": gzip.compress(CAPTURE),
        "notes.pcap": b"not what its name says",
        "empty.pcap": b"",
        "z/trace": b"btsnoop\0" + bytes(40),
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    os.mkfifo(tmp_path / "pipe")  # to open it would wait for ever
    skipped: dict[str, str] = {}
    sources = list(expand_inputs([tmp_path], on_skip=skipped.__setitem__))
    found = [source.name.removeprefix(f"{tmp_path}/") for source in sources]
    assert found == ["a.pcapng", "c.gz", "b/10.pcap", "b/2.bin"]
    assert {name.removeprefix(f"{tmp_path}/"): reason for name, reason in skipped.items()} == {
        "empty.pcap": "empty",
        "notes.pcap": "not a capture",
        "pipe": "not a regular file",
        "z/trace": "btsnoop format, which is not read here",
    }


def test_what_is_named_is_always_yielded(tmp_path: Path) -> None:
    text = tmp_path / "text"
    text.write_text("hello")
    names = [source.name for source in expand_inputs([text, "-", "missing.pcap", text])]
    assert names == [str(text), "-", "missing.pcap", str(text)]


def test_a_folder_without_captures_says_so(tmp_path: Path) -> None:
    (source,) = expand_inputs([tmp_path])
    with pytest.raises(CaptureError, match="no capture in this folder"):
        open_capture(source)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty"),
        (b"hello, this is no capture", "not a capture"),
        (bytes(100), "not a capture"),
        (b"\xd4\xc3\xb2", "not a capture"),
    ],
)
def test_no_capture(tmp_path: Path, data: bytes, reason: str) -> None:
    path = tmp_path / "x.pcap"
    path.write_bytes(data)
    with pytest.raises(CaptureError) as caught:
        open_capture(path)
    assert str(caught.value) == f"{path}: {reason}"
    assert not isinstance(caught.value, UnsupportedFormat)


ERF_TIME = bytes(4) + (1_600_000_000).to_bytes(4, "little")
ERF = (ERF_TIME + b"\x02\x04\x00\x60\x00\x00\x00\x4a" + bytes(80)) * 8


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (b"TR\x00\x64\x00" + bytes(100), "HP-UX nettl"),
        (b"RTSS" + bytes(100), "Microsoft Network Monitor 1"),
        (b"GMBU" + bytes(100), "Microsoft Network Monitor 2"),
        (b"+---------+---------------+----------+\n", "K12 text"),
        (b"XCP\0" + bytes(100), "Sniffer or NetXRay"),
        (b"btsnoop\0" + bytes(100), "btsnoop"),
        (b"\x7fver" + bytes(100), "WildPackets Peek"),
        (ERF, "Endace ERF"),
        (b"\x04\x22\x4d\x18" + bytes(100), "lz4"),
        (b"7z\xbc\xaf\x27\x1c" + bytes(100), "7-zip"),
        (bytes(257) + b"ustar" + bytes(300), "tar"),
    ],
)
def test_other_formats_are_named(tmp_path: Path, data: bytes, name: str) -> None:
    for stored in (data, gzip.compress(data)):
        path = tmp_path / "x"
        path.write_bytes(stored)
        with pytest.raises(UnsupportedFormat, match=name) as caught:
            open_capture(path)
        assert "\n" not in str(caught.value)
        assert caught.value.exit_status == 2


def test_what_cannot_be_opened(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="no such file or directory"):
        open_capture(tmp_path / "missing.pcap")
    with pytest.raises(CaptureError, match="is a directory"):
        open_capture(tmp_path)
    with pytest.raises(CaptureError, match="null"):
        open_capture("a\0b")
    for odd in ("a\0b", "x" * 5000, f"{tmp_path}/file/member"):
        (source,) = expand_inputs([odd])
        with pytest.raises(CaptureError):
            open_capture(source)
    (tmp_path / "file").write_bytes(CAPTURE)
    with pytest.raises(CaptureError, match="not a directory"):
        open_capture(tmp_path / "file" / "member.pcap")


def test_standard_input_may_be_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(CaptureError, match=r"^-: there is no standard input$"):
        open_capture("-")


def test_sources_travel_to_other_processes(tmp_path: Path) -> None:
    (tmp_path / "a.pcap").write_bytes(CAPTURE)
    (source,) = expand_inputs([tmp_path])
    assert pickle.loads(pickle.dumps(source)) == source


def test_the_content_tells_the_format_and_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "capture.txt"
    path.write_bytes(gzip.compress(CAPTURE))
    assert read(path) == ([Packet(0, b"x", 1)], None)
