"""Names that DNS answers in a capture gave to addresses.

Source: RFC 1035, section 4 (messages, compressed names); RFC 3596 (AAAA).
"""

import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mtc.capture.batch import PacketBatch
from mtc.packets.endian import be16, be32, be64, byte
from mtc.packets.headers import Headers, read_only
from mtc.packets.kernel import inlined, kernel, part
from mtc.packets.transport import UDP

ANSWERS = 1 << 17
"""Answers that are held; of more, the newer half stays."""

NAME_BYTES = 16 * ANSWERS
"""Bytes of names that are held."""

ANSWER = np.dtype(
    [
        ("high", np.uint64),
        ("low", np.uint64),
        ("time", np.int64),
        ("name_at", np.int32),
        ("name_length", np.int32),
    ]
)
"""An address that a name was given: IPv4 as its IPv6 form ``::ffff:a.b.c.d``."""

MOST_ANSWERS = 64
"""Answers that are read of one message."""
MOST_NAME = 255
_DNS, _MDNS, _LLMNR = 53, 5353, 5355
_IPV4_AS_IPV6 = np.uint64(0xFFFF << 32)


class AddressNames:
    """Learns names of addresses from DNS answers over UDP, and says which was the newest at a time."""

    def __init__(self) -> None:
        self._answers = np.empty(1024, ANSWER)
        self._names = np.empty(64 * 1024, np.uint8)
        self._used = np.zeros(2, np.int64)  # answers, bytes of names
        self._factors = np.frombuffer(secrets.token_bytes(16), np.uint64) | np.uint64(1)
        self._order: tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.int64]] | None = None

    def learn(self, headers: Headers, batch: PacketBatch) -> None:
        """Read the answers among the packets of a batch."""
        done, before = 0, int(self._used[0])
        while True:
            done = _read_answers(
                read_only(batch.data),
                np.ascontiguousarray(batch.timestamps, np.int64),
                headers.protocol,
                headers.is_transport,
                headers.src_port,
                headers.payload_offset,
                headers.captured_payload,
                done,
                self._answers,
                self._names,
                self._used,
            )
            if done == len(headers):
                break
            self._make_room()
        if self._used[0] != before:
            self._order = None

    def _make_room(self) -> None:
        used, names_used = (int(count) for count in self._used)
        answers, names = self._answers[:used], self._names[:names_used]
        if 2 * len(self._answers) <= ANSWERS and 2 * len(self._names) <= NAME_BYTES:
            first = 0
        else:
            first = used // 2
            answers = answers[first:].copy()
            names = names[answers["name_at"].min() :]
            answers["name_at"] -= answers["name_at"].min()
        self._order = None
        self._answers = np.empty(min(2 * len(self._answers), ANSWERS), ANSWER)
        self._names = np.empty(min(2 * len(self._names), NAME_BYTES), np.uint8)
        self._answers[: len(answers)], self._names[: len(names)] = answers, names
        self._used[:] = len(answers), len(names)

    def names(self, flows: NDArray[Any]) -> Iterator[tuple[int, str]]:
        """Name of each flow's server by the newest answer before the flow's start.

        Args:
            flows: Rows of the flow table.

        Yields:
            Position in ``flows`` and name, for flows whose server's address has one. The server is
            ``dst``; ``src`` only where its port is a well-known one and that of ``dst`` is not.
        """
        if not self._used[0] or not len(flows):
            return
        answers = self._answers[: self._used[0]]
        if self._order is None:
            keys = self._keys(answers["high"], answers["low"])
            order = np.lexsort((answers["time"], keys))
            distinct, begins = np.unique(keys[order], return_index=True)
            self._order = order, distinct, np.append(begins, len(order))
        order, distinct, begins = self._order
        turned = (flows["src_port"] < 1024) & (flows["dst_port"] >= 1024)
        high = np.where(turned, flows["src_high"], flows["dst_high"])
        low = np.where(turned, flows["src_low"], flows["dst_low"])
        low = np.where(flows["ip_version"] == 4, low | _IPV4_AS_IPV6, low)
        keys = self._keys(high, low)
        place = np.minimum(np.searchsorted(distinct, keys), len(distinct) - 1)
        rows = np.flatnonzero(distinct[place] == keys)
        place = place[rows]
        found = _newest(answers["time"][order], begins[place], begins[place + 1], flows["start"][rows])
        known: dict[int, str] = {}
        for row, at in zip(rows[found >= 0].tolist(), order[found[found >= 0]].tolist(), strict=True):
            answer = answers[at]
            if answer["high"] != high[row] or answer["low"] != low[row]:
                continue
            begin, length = int(answer["name_at"]), int(answer["name_length"])
            if begin not in known:
                known[begin] = self._names[begin : begin + length].tobytes().decode("ascii")
            yield row, known[begin]

    def _keys(self, high: NDArray[np.uint64], low: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """uint64, one number for an address; nobody can prepare two addresses with the same."""
        first = (high ^ (high >> np.uint64(32))) * self._factors[0]
        keys: NDArray[np.uint64] = (first ^ (first >> np.uint64(29))) + low * self._factors[1]
        return keys


@kernel
def _newest(
    times: NDArray[np.int64],
    begins: NDArray[np.int64],
    ends: NDArray[np.int64],
    starts: NDArray[np.int64],
) -> NDArray[np.int64]:
    """Index of the last of ``times[begin:end]``, ascending, that is not after each start, or -1."""
    found = np.empty(len(starts), np.int64)
    for k in range(len(starts)):
        at = begins[k] + np.searchsorted(times[begins[k] : ends[k]], starts[k], side="right") - 1
        found[k] = at if at >= begins[k] else -1
    return found


@kernel
def _read_answers(
    data: NDArray[np.uint8],
    timestamps: NDArray[np.int64],
    protocols: NDArray[np.uint8],
    is_transport: NDArray[np.bool_],
    src_ports: NDArray[np.uint16],
    payload_offsets: NDArray[np.int64],
    payload_lengths: NDArray[np.int64],
    begin: int,
    answers: NDArray[Any],
    names: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> int:
    """Append the A and AAAA answers of messages; returns the first packet that found no room."""
    for i in range(begin, len(protocols)):
        port = src_ports[i]
        if port != _DNS and port != _MDNS and port != _LLMNR:
            continue
        if not is_transport[i] or protocols[i] != UDP or payload_lengths[i] < 12:
            continue
        if used[0] + MOST_ANSWERS > len(answers) or used[1] + MOST_ANSWERS * MOST_NAME > len(names):
            return i
        at = payload_offsets[i]
        _read_message(data, at, at + payload_lengths[i], timestamps[i], answers, names, used)
    return len(protocols)


@part
def _read_message(
    data: NDArray[np.uint8],
    message: int,
    end: int,
    time: int,
    answers: NDArray[Any],
    names: NDArray[np.uint8],
    used: NDArray[np.int64],
) -> None:
    """Append the answers of one message of at least 12 bytes, up to where it ends or is no DNS.

    The name is the one that was asked for, so that aliases do not hide it; without a question (mDNS),
    the name of the record.
    """
    flags, questions, records = be16(data, message + 2), be16(data, message + 4), be16(data, message + 6)
    if flags & 0xF80F != 0x8000 or questions > 1:  # an answer to a query, without error
        return
    at = message + 12
    name_at, length = used[1], 0
    if questions:
        length = _write_name(data, message, at, end, names, name_at)
        at = _behind_name(data, at, end) + 4
        if length <= 0:
            return
        used[1] += length
    for _ in range(min(records, MOST_ANSWERS)):
        owner = at
        at = _behind_name(data, at, end)
        if at + 10 > end:
            return
        kind, size = be16(data, at), be16(data, at + 8)
        at += 10 + size
        if at > end:
            return
        if (kind == 1 and size == 4) or (kind == 28 and size == 16):
            if not questions:
                name_at = used[1]
                length = _write_name(data, message, owner, end, names, name_at)
                if length <= 0:
                    return
                used[1] += length
            answer = answers[used[0]]
            if kind == 1:
                answer.high, answer.low = np.uint64(0), np.uint64(be32(data, at - 4)) | _IPV4_AS_IPV6
            else:
                answer.high, answer.low = be64(data, at - 16), be64(data, at - 8)
            answer.time, answer.name_at, answer.name_length = time, name_at, length
            used[0] += 1


@inlined
def _behind_name(data: NDArray[np.uint8], at: int, end: int) -> int:
    """Where a name ends; past ``end`` where it does not end inside the message."""
    while at < end:
        length = byte(data, at)
        if length == 0:
            return at + 1
        if length >= 0xC0:
            return at + 2
        at += 1 + length
    return end + 1


@inlined
def _write_name(
    data: NDArray[np.uint8], message: int, at: int, end: int, names: NDArray[np.uint8], to: int
) -> int:
    """Write a name as text in lower case, at most 255 bytes; returns its length, 0 where it is none.

    Every turn reads a length byte before ``end``; pointers lead backwards, so that there is an end.
    """
    begin, limit = to, end
    while at < limit:
        length = byte(data, at)
        if length == 0:
            return max(to - begin - 1, 0)  # without the last dot
        if length >= 0xC0:
            if at + 2 > end:
                return 0
            limit, at = at, message + (be16(data, at) & 0x3FFF)
            continue
        if length > 63 or at + 1 + length > end or to + length + 1 - begin > MOST_NAME:
            return 0
        for k in range(at + 1, at + 1 + length):
            letter = data[k]
            if letter <= 32 or letter >= 127:
                return 0
            names[to] = letter + 32 if 65 <= letter <= 90 else letter
            to += 1
        names[to] = 46
        to += 1
        at += 1 + length
    return 0
