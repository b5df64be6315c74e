"""Messages of DNS, and of mDNS and LLMNR, which have the same form.

Sources: RFC 1035, section 4; RFC 6762 (mDNS); RFC 4795 (LLMNR).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address

from mtc.flows.protocols.cursor import Cursor, TruncatedError, text

A, CNAME, PTR, TXT, AAAA, SRV, HTTPS = 1, 5, 12, 16, 28, 33, 65
MAX_RECORDS = 256
"""Questions and records of a message that are read."""
_MAX_POINTERS = 64
_MAX_NAME = 255
_MAX_QUESTIONS = 32


@dataclass(frozen=True, slots=True)
class Question:
    """A name and the type of record asked for."""

    name: str
    type: int


@dataclass(frozen=True, slots=True)
class Answer:
    """A resource record.

    Attributes:
        name: whose record it is.
        type: ``A``, ``AAAA``, ``CNAME``, ...
        ttl: seconds for which it may be remembered.
        value: the address of ``A`` and ``AAAA``, the name of ``CNAME`` and ``PTR``; None for other types.
    """

    name: str
    type: int
    ttl: int
    value: str | None


@dataclass(frozen=True, slots=True)
class Message:
    """A message; ``questions`` and ``answers`` end where the bytes do.

    Attributes:
        id: the identifier that joins question and answer.
        response: whether it is an answer.
        rcode: the answer's status, 0 for success.
        questions: what is asked.
        answers: records of the section of this name.
        complete: whether all of both sections could be read.
    """

    id: int
    response: bool
    rcode: int
    questions: tuple[Question, ...]
    answers: tuple[Answer, ...]
    complete: bool

    def addresses(self) -> list[tuple[str, str]]:
        """Each address that the message gives, and the name that was asked for.

        The name is that of the question where aliases (CNAME) lead from there to the address, else the
        name of the record.
        """
        asked = {answer.value: answer.name for answer in self.answers if answer.type == CNAME}
        return [
            (answer.value, self._original(answer.name, asked))
            for answer in self.answers
            if answer.type in (A, AAAA) and answer.value is not None
        ]

    def _original(self, name: str, asked: dict[str | None, str]) -> str:
        for _ in range(len(asked)):  # as many steps as there are aliases: a circle ends
            if name not in asked or (self.questions and name == self.questions[0].name):
                break
            name = asked[name]
        return name


def parse_message(data: bytes) -> Message | None:
    """A message from the payload of a datagram.

    Args:
        data: the bytes; may be cut off.

    Returns:
        None where the header is not that of a message: too short, a reserved operation code, or counts
        that the bytes cannot hold.
    """
    cursor = Cursor(data)
    try:
        identifier, flags, *counts = (cursor.number(2) for _ in range(6))
    except TruncatedError:
        return None
    if (flags >> 11) & 0xF > 6 or counts[0] > _MAX_QUESTIONS or sum(counts) * 5 > len(data):
        return None
    questions: list[Question] = []
    answers: list[Answer] = []
    complete = counts[1] <= MAX_RECORDS
    try:
        for _ in range(counts[0]):
            questions.append(Question(_name(cursor), cursor.number(2)))
            cursor.number(2)
        for _ in range(min(counts[1], MAX_RECORDS)):
            answers.append(_answer(cursor))
    except TruncatedError:
        complete = False
    return Message(identifier, flags >= 0x8000, flags & 0xF, tuple(questions), tuple(answers), complete)


def messages_of_stream(stream: bytes) -> Iterator[bytes]:
    """Messages of a TCP stream, each after its length of 16 bits; the last may be cut off."""
    at = 0
    while at + 2 < len(stream):
        length = int.from_bytes(stream[at : at + 2], "big")
        if length < 12:
            return
        yield stream[at + 2 : at + 2 + length]
        at += 2 + length


def _answer(cursor: Cursor) -> Answer:
    name, kind = _name(cursor), cursor.number(2)
    cursor.number(2)
    ttl, length = cursor.number(4), cursor.number(2)
    end = cursor.at + length
    if end > len(cursor.data):
        raise TruncatedError
    value = None
    if kind == A and length == 4:
        value = str(IPv4Address(cursor.take(4)))
    elif kind == AAAA and length == 16:
        value = str(IPv6Address(cursor.take(16)))
    elif kind in (CNAME, PTR):
        value = _name(cursor)
    cursor.at = end
    return Answer(name, kind, ttl, value)


def _name(cursor: Cursor) -> str:
    """A name; the cursor ends behind its bytes in place, not behind what a pointer leads to."""
    labels: list[str] = []
    length = 0
    data = cursor.data
    at = cursor.at
    end = -1
    for _ in range(_MAX_POINTERS + _MAX_NAME):
        if at >= len(data):
            raise TruncatedError
        size = data[at]
        if size >= 0xC0:
            if at + 1 >= len(data):
                raise TruncatedError
            end = at + 2 if end < 0 else end
            target = (size & 0x3F) << 8 | data[at + 1]
            if target >= at:  # only names before this one may be pointed to, so there is no circle
                raise TruncatedError
            at = target
        elif size >= 0x40:
            raise TruncatedError
        else:
            if size == 0:
                cursor.at = at + 1 if end < 0 else end
                return ".".join(labels)
            length += size + 1
            if length > _MAX_NAME or at + 1 + size > len(data):
                raise TruncatedError
            labels.append(text(data[at + 1 : at + 1 + size]))
            at += 1 + size
    raise TruncatedError
