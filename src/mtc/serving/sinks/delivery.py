"""Brings events to a sink in a thread of its own, over times when it is down.

Events wait in memory, then on disk while the sink is down, and are offered in their order when it is
back. What the full buffer has no room for is lost and counted. An event can arrive twice (when a sink
dies after it took a batch and before it said so); flow_id and state show which events are the same.
"""

import threading
import time
from collections import deque
from typing import Any

from mtc.serving.sinks.base import Sink, SinkDown, SinkRefused
from mtc.serving.sinks.spool import Spool

MEMORY_LINES = 20_000
BATCH_LINES = 500
LINGER_S = 0.2
FIRST_WAIT_S, LONGEST_WAIT_S = 0.5, 15.0
CLOSE_S = 1.0
"""Seconds beyond its time in which a sink may return; then it is given up."""


class Delivery(threading.Thread):
    """One sink's queue and the thread that empties it.

    Attributes:
        sink_name: The sink's URL without secrets.
        delivered: Events that the sink has taken.
        lost: Events that found no room, or that the sink refused for good.
        up: Whether the last attempt succeeded.
        last_error: What the last attempt failed with.
    """

    def __init__(
        self, name: str, sink: Sink, spool: Spool | None, *, memory_lines: int = MEMORY_LINES
    ) -> None:
        """Prepare; ``start`` begins.

        Args:
            name: For people.
            sink: Used, and closed, by the thread only.
            spool: Where events wait while the sink is down; without it in memory only.
            memory_lines: Events that wait in memory at most.
        """
        super().__init__(name=f"sink {name}", daemon=True)
        self.sink_name = name
        self.delivered = self.lost = 0
        self.up = True
        self.last_error = ""
        self._sink, self._spool = sink, spool
        self._memory: deque[str] = deque()
        self._memory_lines = memory_lines
        self._changed = threading.Condition()
        self._in_flight: list[str] = []  # taken from memory, and not yet with the sink
        self._abandoned = self._ended = False
        self._wait_s = FIRST_WAIT_S
        self._closing_by: float | None = None

    def put(self, line: str) -> None:
        """Take an event; never waits."""
        with self._changed:
            if len(self._memory) >= self._memory_lines:
                self.lost += 1  # the thread keeps the memory clear as long as the disk has room
                return
            self._memory.append(line)
            if len(self._memory) in (1, BATCH_LINES, self._memory_lines // 2):
                self._changed.notify_all()

    def status(self) -> dict[str, Any]:
        """The status of a sink in events of kind ``stats``."""
        spool = self._spool
        status: dict[str, Any] = {
            "sink": self.sink_name,
            "up": self.up,
            "delivered": self.delivered,
            "waiting": len(self._memory) + len(self._in_flight) + (spool.lines if spool else 0),
            "spooled_bytes": spool.bytes if spool else 0,
            "lost": self.lost,
        }
        return status if self.up else status | {"error": self.last_error}

    def close_by(self, deadline: float) -> None:
        """Deliver what waits until a time of the monotonic clock, and end; returns at once."""
        with self._changed:
            self._closing_by = deadline
            self._changed.notify_all()

    def abandon(self) -> None:
        """Bring to disk what is not with the sink, where the sink does not return; no more is delivered.

        Events in flight may arrive and also wait: they come twice rather than never.
        """
        with self._changed:
            if self._ended or self._abandoned:
                return
            self._abandoned = True  # from here on the thread leaves the buffer alone
            self._memory.extendleft(reversed(self._in_flight))
            self._in_flight = []
        self._leave()

    def finish(self, timeout_s: float) -> int:
        """Deliver what waits, for so long at most; returns how many events stay behind on disk."""
        deadline = time.monotonic() + timeout_s
        self.close_by(deadline)
        self.join(max(0.0, deadline - time.monotonic()) + CLOSE_S)
        self.abandon()
        return int(self.status()["waiting"])

    def run(self) -> None:
        """Deliver; the body of the thread."""
        while not self._over():
            if self._spool is not None and self._spool.lines:
                self._deliver_spooled(self._spool)
            else:
                self._deliver_memory()
        with self._changed:
            self._ended = not self._abandoned
        if self._ended:
            self._leave()
            self._sink.close()

    def _leave(self) -> None:
        """Bring to disk what waits in memory, and count as lost what finds no room there."""
        self._to_disk()
        with self._changed:
            self.lost += len(self._memory)
            self._memory.clear()
        if self._spool is not None:
            self._spool.close()

    def _over(self) -> bool:
        if self._abandoned:
            return True
        if self._closing_by is None:
            return False
        waiting = len(self._memory) + (self._spool.lines if self._spool else 0)
        return not waiting or time.monotonic() >= self._closing_by

    def _deliver_spooled(self, spool: Spool) -> None:
        lines = spool.peek(BATCH_LINES)
        taken = self._offer(lines)
        with self._changed:
            if self._abandoned:
                return
            if taken:
                spool.forget(len(lines))
        if taken:
            if len(self._memory) > self._memory_lines // 2:
                self._to_disk()
        else:
            self._rest()

    def _deliver_memory(self) -> None:
        lines = self._next_lines()
        if not lines:
            return
        taken = self._offer(lines)
        with self._changed:
            if self._abandoned:
                return
            if not taken:
                self._memory.extendleft(reversed(lines))
            self._in_flight = []
        if not taken:
            self._to_disk()
            self._rest()

    def _next_lines(self) -> list[str]:
        with self._changed:
            if not self._memory and self._closing_by is None:
                self._changed.wait(1.0)
            if self._memory and len(self._memory) < BATCH_LINES and self._closing_by is None:
                self._changed.wait(LINGER_S)  # a few more make a better batch
            lines = [self._memory.popleft() for _ in range(min(BATCH_LINES, len(self._memory)))]
            self._in_flight = lines
        return lines

    def _offer(self, lines: list[str]) -> bool:
        """Whether the sink has them, or refused some of them for good, and need not be asked again."""
        try:
            self._sink.send(lines)
            self.delivered += len(lines)
        except SinkRefused as error:
            self.last_error = str(error)
            if len(lines) == 1:
                self.lost += 1
                return True
            # Something in the batch is refused: halves show what.
            middle = len(lines) // 2
            return self._offer(lines[:middle]) and self._offer(lines[middle:])
        except SinkDown as down:
            self.up, self.last_error = False, str(down)
            return False
        self.up, self._wait_s = True, FIRST_WAIT_S
        return True

    def _rest(self) -> None:
        """Wait before the next attempt, longer each time, and bring to disk what comes meanwhile."""
        until = time.monotonic() + self._wait_s
        self._wait_s = min(LONGEST_WAIT_S, 2 * self._wait_s)
        while (left := until - time.monotonic()) > 0:
            with self._changed:
                if self._closing_by is not None:
                    left = min(left, max(0.0, self._closing_by - time.monotonic()), FIRST_WAIT_S)
                self._changed.wait(min(left, 0.5))
            self._to_disk()
            if self._closing_by is not None and time.monotonic() >= self._closing_by:
                return

    def _to_disk(self) -> None:
        """Bring what waits in memory to disk; what finds no room there stays, up to memory's own limit."""
        if self._spool is None:
            return
        with self._changed:
            lines = list(self._memory)
        try:
            taken = self._spool.append(lines)
        except OSError as error:
            self.last_error = f"{self._spool.folder}: {error.strerror or error}"
            taken = 0
        with self._changed:
            for _ in range(taken):
                self._memory.popleft()
