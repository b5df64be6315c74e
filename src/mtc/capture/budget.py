"""How much may come out of archives and compressed files of someone who is not trusted."""

from dataclasses import dataclass

from mtc.capture.streams import ByteStream, ReadInto, StreamError


@dataclass(slots=True)
class ByteBudget:
    """Bytes that may still come out, shared by all that is unpacked.

    Attributes:
        left: Bytes that are left; below 0 where more was asked for.
    """

    left: int

    @property
    def exceeded(self) -> bool:
        """Whether reading has ended because of it."""
        return self.left < 0


class Metered(ReadInto):
    """A stream whose bytes are taken off a budget; it breaks off where that is exceeded."""

    def __init__(self, source: ByteStream, budget: ByteBudget) -> None:
        self._source = source
        self._budget = budget

    def read(self, size: int) -> bytes:
        """See `mtc.capture.streams.ByteStream`."""
        data = self._source.read(size)
        self._budget.left -= len(data)
        if self._budget.exceeded:
            raise StreamError("it unpacks to more bytes than are allowed")
        return data
