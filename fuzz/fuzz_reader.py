"""Fuzz target: any bytes as a capture, through the reader and on to samples; or as the handshake of a flow.

    pip install -e '.[fuzz]'
    python fuzz/fuzz_reader.py --seed-corpus          # writes fuzz/corpus from small valid captures
    python fuzz/fuzz_reader.py fuzz/corpus -max_total_time=600

A finding is any exception but `mtc.errors.CaptureError`, a batch or a flow record that breaks its contract,
a crash, or an input that takes longer than libFuzzer's timeout. The Python code guides the fuzzer; the
compiled kernels do not, so run it a second time with ``NUMBA_BOUNDSCHECK=1`` and a ``NUMBA_CACHE_DIR`` of its
own, which turns any read past an array into an exception. New inputs are written to the first folder
named, so give an empty one before ``fuzz/corpus`` to keep that small.
"""

import gzip
import importlib.util
import re
import struct
import sys
import tempfile
from pathlib import Path

import atheris

_COMPILES = re.compile(r"import numba|from numba|\.kernel import")


def _modules_of_kernels() -> list[str]:
    """Numba cannot compile what atheris has instrumented."""
    spec = importlib.util.find_spec("mtc")
    assert spec is not None
    assert spec.origin is not None
    package = Path(spec.origin).parent
    kernels = [path for path in package.rglob("*.py") if _COMPILES.search(path.read_text(encoding="utf-8"))]
    return [".".join(("mtc", *path.relative_to(package).with_suffix("").parts)) for path in kernels]


with atheris.instrument_imports(include=["mtc"], exclude=_modules_of_kernels()):
    from mtc.capture import open_capture
    from mtc.errors import CaptureError
    from mtc.flows import SampleStream
    from mtc.flows.detection import detect
    from mtc.flows.payloads import Opening
    from mtc.flows.protocols import read_names
    from mtc.flows.protocols.certificates import names_in_certificate

CORPUS = Path(__file__).parent / "corpus"
_INPUT = Path(tempfile.mkdtemp(prefix="mtc-fuzz-"), "capture")


def fuzz_one(data: bytes) -> None:
    """Read ``data`` as a capture; the first byte chooses how."""
    how, data = data[:1] or b"\0", data[1:]
    if how[0] & 16:
        fuzz_handshake(how[0], data)
        return
    _INPUT.write_bytes(gzip.compress(data, 0) if how[0] & 1 else data)
    try:
        with open_capture(_INPUT, batch_bytes=64 if how[0] & 2 else 1 << 20) as reader:
            number = 1
            for batch in reader:
                assert batch.first_packet == number
                assert (batch.offsets >= 0).all()
                assert (batch.caplens >= 0).all()
                assert (batch.offsets + batch.caplens <= len(batch.data)).all()
                number += len(batch)
        if how[0] & 4:
            with SampleStream(_INPUT, decapsulate=bool(how[0] & 8), names=True) as stream:
                samples = sum(len(piece) for piece in stream)
                assert samples + sum(stream.left_out.values()) == stream.packets == number - 1
                records = stream.flows.records()
                assert records.packets.sum() <= stream.packets
                assert sum(1 for _ in records.rows()) == len(records) == len(records.evidence)
    except CaptureError:
        return  # refusing a damaged file is what is asked for


def fuzz_handshake(how: int, data: bytes) -> None:
    """Read ``data`` as what two sides of a flow send, which a byte pair of its own choice parts."""
    size = 1 + int.from_bytes(data[:2], "big") % 1500
    pieces = [data[at : at + size] for at in range(2, len(data), size)]
    names = read_names("udp" if how & 1 else "tcp", pieces[::2], pieces[1::2])
    found = [names.server_name or "", *names_in_certificate(data)]
    assert all(name.isprintable() for name in found)
    sides = pieces[::2], pieces[1::2]
    if not how & 1:
        sides = [b"".join(sides[0])], [b"".join(sides[1])]
    port = _PORTS[how >> 5]
    finding = detect(Opening(17 if how & 1 else 6, 40_000, port, sides, (bool(how & 2), bool(how & 4))))
    assert (finding.app_proto is None) == (finding.by is None)


_PORTS = (40_000, 21, 53, 80, 137, 443, 4500, 5060)


def _block(order: str, kind: int, body: bytes) -> bytes:
    length = struct.pack(order + "I", len(body) + 12)
    return struct.pack(order + "I", kind) + length + body + length


def seed_corpus() -> None:
    """Write small valid captures of every format as seeds."""
    udp = (
        bytes.fromhex("4500002000010000401100000a0000010a000002")
        + struct.pack(">HHHH", 4000, 443, 12, 0)
        + b"data"
    )
    frame = bytes(12) + b"\x08\x00" + udp
    record = struct.pack("<IIII", 1, 2, len(frame), len(frame)) + frame
    little = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1)
    big = struct.pack(">IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 101)
    packet = frame + bytes(-len(frame) % 4)
    seeds = {
        "pcap": little + record * 3,
        "pcap-big-endian": big + struct.pack(">IIII", 1, 2, len(udp), len(udp)) + udp,
        "snoop": b"snoop\0\0\0"
        + struct.pack(">II", 2, 4)
        + struct.pack(">IIIIII", len(frame), len(frame), 24 + len(packet), 0, 1, 2)
        + packet,
        "text": b"no capture",
    }
    for order, name in (("<", "little"), (">", "big")):
        options = struct.pack(order + "HHB3xHHqHH", 9, 1, 9, 14, 8, 1000, 0, 0)
        seeds[f"pcapng-{name}"] = b"".join(
            (
                _block(order, 0x0A0D0D0A, struct.pack(order + "IHHq", 0x1A2B3C4D, 1, 0, -1)),
                _block(order, 1, struct.pack(order + "HHI", 1, 0, 0) + options),
                _block(order, 6, struct.pack(order + "IIIII", 0, 1, 2, len(frame), len(frame)) + packet),
                _block(order, 3, struct.pack(order + "I", len(frame)) + packet),
                _block(order, 2, struct.pack(order + "HHIIII", 0, 0, 1, 2, len(frame), len(frame)) + packet),
            )
        )
    extensions = bytes.fromhex("00000010000e00000b6578616d706c652e6f7267") + bytes.fromhex(
        "0010000500030268 32"
    )
    hello = (
        b"\x03\x03" + bytes(32) + b"\0\0\x02\x13\x01\x01\0" + struct.pack(">H", len(extensions)) + extensions
    )
    message = b"\x01" + len(hello).to_bytes(3, "big") + hello
    handshakes = {
        "tls-16": b"\x16\x03\x01" + struct.pack(">H", len(message)) + message,
        "quic-17": b"\xc3\0\0\0\x01\x08" + bytes(8) + b"\0\0\x44\x9e" + bytes(1182),
        "gquic-17": b"\x0d" + bytes(8) + b"Q043\x01CHLO\x01\0\0\0SNI\0\x0b\0\0\0example.org",
        "http-16": b"GET / HTTP/1.1\r\nHost: example.org\r\n\r\n",
    }
    CORPUS.mkdir(exist_ok=True)
    for name_of_seed, data in handshakes.items():
        how = int(name_of_seed.rpartition("-")[2])
        (CORPUS / name_of_seed).write_bytes(bytes([how]) + b"\x05\xdb" + data)
    for name, data in seeds.items():
        for how in (0, 3, 12):
            (CORPUS / f"{name}-{how}").write_bytes(bytes([how]) + data)


if __name__ == "__main__":
    if "--seed-corpus" in sys.argv:
        seed_corpus()
    else:
        atheris.Setup(sys.argv, fuzz_one)
        atheris.Fuzz()
