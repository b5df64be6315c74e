"""What a detector is, and the pieces that their tests share."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

Transport = Literal["tcp", "udp", "both"]


@dataclass(frozen=True, slots=True)
class Side:
    """One direction of a flow, as a test sees it beside its first payload.

    Attributes:
        packets: What was sent: datagrams, or for TCP one item, the stream's beginning.
        peer: What the other side sent, likewise; may be empty.
        port: Port of the sender.
        peer_port: Port of the receiver.
        opened: Whether the stream is known from its first byte on; False for datagrams.
    """

    packets: Sequence[bytes]
    peer: Sequence[bytes]
    port: int
    peer_port: int
    opened: bool = False

    @property
    def answer(self) -> bytes:
        """The first payload of the other side, or no bytes."""
        return self.peer[0] if self.peer else b""

    def at(self, *ports: int) -> bool:
        """Whether either side has one of the ports."""
        return self.port in ports or self.peer_port in ports


@dataclass(frozen=True, slots=True)
class Detector:
    """How one application protocol is recognized, in either direction of a flow.

    Attributes:
        app_proto: Its name, as Suricata spells it.
        transport: ``tcp``, ``udp`` or ``both``.
        starts: Bytes, one of which the first payload begins with; empty: any.
        test: What the first payload of a direction must fulfil besides.
        ports: Ports that the protocol is known to use.
        needs_port: Whether the payload proves too little, so that one of ``ports`` has to be there too.
    """

    app_proto: str
    transport: Transport
    starts: tuple[bytes, ...] = ()
    test: Callable[[bytes, Side], bool] | None = None
    ports: frozenset[int] = field(default_factory=frozenset)
    needs_port: bool = False


_TEXT = bytes((9, 10, 13, *range(32, 127)))


def is_text(data: bytes) -> bool:
    """Whether bytes are a line of ASCII, or the beginning of one, but for a letter here and there."""
    head = data[:64]
    return 16 * len(head.translate(None, _TEXT)) <= len(head)


def number(data: bytes, at: int, size: int, order: Literal["big", "little"] = "big") -> int:
    """An unsigned integer of ``size`` bytes at ``at``; -1 where the bytes end before it."""
    return int.from_bytes(data[at : at + size], order) if at + size <= len(data) else -1
