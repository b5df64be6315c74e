"""Zip archives of any kind and in any state end in packets or in one line."""

import io
import zipfile
from pathlib import Path

import pytest
from capture_writers import read
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mtc.capture import expand_inputs
from mtc.errors import CaptureError

METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
HEADER = bytes.fromhex("d4c3b2a1020004000000000000000000ffff000065000000")
PCAP = HEADER + (bytes(8) + b"\x40\0\0\0" * 2 + bytes(64)) * 20


def archive(method: int) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", method) as file:
        file.writestr("a.pcap", PCAP)
        file.writestr("b.txt", "no capture")
    return packed.getvalue()


ARCHIVES = {method: archive(method) for method in METHODS}


@pytest.mark.parametrize("method", METHODS)
def test_every_method(tmp_path: Path, method: int) -> None:
    (path := tmp_path / "a.zip").write_bytes(ARCHIVES[method])
    sources = list(expand_inputs([path]))
    assert [len(read(source)[0]) for source in sources] == [20]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(
    method=st.sampled_from(METHODS),
    places=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
    cut=st.integers(0, 3000),
)
def test_a_damaged_archive(tmp_path: Path, method: int, places: list[tuple[int, int]], cut: int) -> None:
    data = bytearray(ARCHIVES[method])
    for place, value in places:
        data[place % len(data)] = value
    (path := tmp_path / "a.zip").write_bytes(bytes(data[: cut or None]))
    for source in expand_inputs([path]):
        problem = ""
        try:
            read(source)
        except CaptureError as error:
            problem = str(error)
        assert "\n" not in problem
        assert "<ZipInfo" not in problem
