"""What may be wrong with a capture as a whole: cut samples, packets that come twice, times out of order."""

import secrets
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.packets.endian import be16, be64, byte
from mtc.packets.headers import Headers, read_only
from mtc.packets.kernel import kernel
from mtc.packets.transport import TCP

WINDOW = 16
"""Packets before a packet among which a copy of it is sought."""
COPY_WITHIN_NS = 50_000_000
"""Time within which a copy comes: a mirrored port sends both within a millisecond, unless it is busy."""
HASHED_BYTES = 128
"""Bytes of an IP packet that are compared; its transport checksum covers the rest."""


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """Counts of a capture's packets.

    Attributes:
        cut_samples: Samples of which fewer bytes were captured than were on the wire.
        duplicates: Packets that are a copy of one of the 16 before them, as from a mirrored (SPAN) port.
        out_of_order: Packets that are older than the newest before them.
    """

    cut_samples: int = 0
    duplicates: int = 0
    out_of_order: int = 0

    def __add__(self, other: "CheckCounts") -> "CheckCounts":
        return CheckCounts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    def notes(self, packets: int, samples: int, *, dropped: bool = False) -> list[str]:
        """What a user should know, a sentence each.

        Args:
            packets: Packets that were read.
            samples: Samples among them.
            dropped: Whether duplicates were left out of everything else.
        """
        notes = []
        if self.cut_samples:
            notes.append(
                f"{self.cut_samples:,} of {samples:,} samples are cut by the snap length: "
                "their verdicts are made of fewer bytes than the model was trained on"
            )
        if self.duplicates:
            done = "dropped" if dropped else "counted like all others; --drop-duplicates drops them"
            notes.append(f"{self.duplicates:,} of {packets:,} packets are copies of one just before ({done})")
        if self.out_of_order:
            notes.append(f"{self.out_of_order:,} of {packets:,} packets are older than one before them")
        return notes


class CaptureChecks:
    """Counts over the batches of one capture.

    Attributes:
        counts: Of the packets so far.
    """

    def __init__(self) -> None:
        self.counts = CheckCounts()
        self._seed = np.uint64(secrets.randbits(64))
        self._hashes = np.zeros(WINDOW, np.uint64)
        self._times = np.full(WINDOW, np.iinfo(np.int64).min // 2, np.int64)
        self._next = 0
        self._newest = np.iinfo(np.int64).min

    def add(self, batch: PacketBatch, headers: Headers) -> NDArray[np.bool_]:
        """Count the packets of a batch; returns which of them are copies, bool (N,)."""
        copies = np.zeros(len(batch), np.bool_)
        if not len(batch):
            return copies
        self._next = _find_copies(
            read_only(batch.data),
            np.ascontiguousarray(batch.offsets, np.int64),
            np.ascontiguousarray(batch.caplens, np.int64),
            np.ascontiguousarray(batch.timestamps, np.int64),
            headers.ip_version,
            headers.ip_offset,
            headers.ip_length,
            headers.protocol,
            headers.payload_length,
            self._seed,
            self._hashes,
            self._times,
            self._next,
            copies,
        )
        cut = (batch.caplens < batch.wirelens) & (headers.reason == 0)
        timed = batch.timestamps[batch.timestamps != 0]
        newest = np.maximum.accumulate(np.concatenate([[self._newest], timed]))
        self._newest = int(newest[-1])
        self.counts += CheckCounts(
            int(np.count_nonzero(cut)),
            int(np.count_nonzero(copies)),
            int(np.count_nonzero(timed < newest[:-1])),
        )
        return copies


@kernel
def _find_copies(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    caplens: NDArray[np.int64],
    timestamps: NDArray[np.int64],
    versions: NDArray[np.uint8],
    ip_offsets: NDArray[np.int64],
    ip_lengths: NDArray[np.int32],
    protocols: NDArray[np.uint8],
    payloads: NDArray[np.int64],
    seed: np.uint64,
    hashes: NDArray[np.uint64],
    times: NDArray[np.int64],
    place: int,
    copies: NDArray[np.bool_],
) -> int:
    """Mark packets whose hash is among the last ones; returns the place of the next in that ring."""
    for i in range(len(offsets)):
        begin, end = offsets[i], offsets[i] + caplens[i]
        version = versions[i]
        if version:  # from the IP header on: tags and addresses of the link may differ between copies
            begin = ip_offsets[i]
            end = min(end, begin + ip_lengths[i])
        # Acknowledgements repeat each other byte by byte where no IP id distinguishes them.
        if protocols[i] == TCP and payloads[i] == 0 and (version == 6 or be16(data, begin + 4) == 0):
            continue
        hashed = _hash(data, begin, min(end, begin + HASHED_BYTES), version, seed)
        hashed ^= np.uint64(end - begin)
        for k in range(WINDOW):
            if hashes[k] == hashed and timestamps[i] - times[k] <= COPY_WITHIN_NS:
                copies[i] = True
                break
        hashes[place], times[place] = hashed, timestamps[i]
        place = (place + 1) % WINDOW
    return place


@kernel
def _hash(data: NDArray[np.uint8], begin: int, end: int, version: int, seed: np.uint64) -> np.uint64:
    """A hash of bytes, without an IP header's time to live and checksum, which a router changes."""
    value, at, word = seed, begin, 0
    while at + 8 <= end:
        eight = be64(data, at)
        if word == 1 and version == 4:
            eight &= np.uint64(0x00FF0000FFFFFFFF)
        elif word == 0 and version == 6:
            eight &= np.uint64(0xFFFFFFFFFFFFFF00)
        value = (value ^ eight) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
        at, word = at + 8, word + 1
    while at < end:
        value = (value ^ np.uint64(byte(data, at))) * np.uint64(0x9E3779B97F4A7C15)
        value ^= value >> np.uint64(29)
        at += 1
    return value
