"""The thread that reads packets, from an interface or a capture, into the queue to the model."""

import contextlib
import threading
import time

from mtc.capture import CaptureReader, PacketBatch
from mtc.capture.interface import InterfaceDown, InterfaceReader, KernelCounts
from mtc.errors import CaptureError
from mtc.serving.packet_queue import PacketQueue, owned

DOWN_LOOK_S = 0.1
"""Seconds between looks at an interface that is down."""

LIVE_WITHIN_S = 30.0
"""A stream whose first packet is no older is taken to come from a link, and not from a file."""


class Feeder(threading.Thread):
    """Reads until its source ends or it is stopped.

    Attributes:
        queue: Where the packets go; closed when reading ends.
        live: Whether the packets come as they happen. Then what finds the queue full is dropped and
            counted; what comes from a file waits instead.
        may_block: Whether reading can wait for ever, so that a stop cannot wait for its end.
        error: Why reading ended early, or None.
        gaps: How often an interface went down and was waited for.
        gap_s: Seconds for which it was down, all together.
    """

    def __init__(
        self, source: InterfaceReader | CaptureReader, queue: PacketQueue, *, reopen: bool = True
    ) -> None:
        """Read a source into a queue.

        Args:
            source: Closed at the end.
            queue: Closed at the end too.
            reopen: Whether an interface that goes down is waited for.
        """
        super().__init__(name="feeder", daemon=True)
        self.queue = queue
        self.live = isinstance(source, InterfaceReader)
        self.may_block = isinstance(source, CaptureReader) and source.size is None
        self.error: str | None = None
        self.gaps, self.gap_s = 0, 0.0
        self._reopen = reopen
        self._down_since: float | None = None
        self._source = source
        self._stop_asked = threading.Event()
        self._kernel = KernelCounts()
        self._counted_at = float("-inf")

    def run(self) -> None:
        """Read; the body of the thread."""
        try:
            if isinstance(self._source, InterfaceReader):
                self._read_interface(self._source)
            else:
                self._read_capture(self._source)
        except CaptureError as error:
            self.error = str(error)
        except (OSError, MemoryError) as error:
            self.error = f"{self._source.name}: {error}"
        finally:
            self.queue.close()
            with contextlib.suppress(OSError):  # all that it had has been read
                self._source.close()

    def stop(self) -> None:
        """Read no more; what is in the queue is still classified."""
        self._stop_asked.set()

    def kernel_counts(self) -> KernelCounts:
        """What the kernel dropped so far; zeros for a capture."""
        return self._kernel

    def _read_interface(self, source: InterfaceReader) -> None:
        while not self._stop_asked.is_set():
            try:
                batch = source.read()
            except InterfaceDown:
                if not self._reopen:
                    raise
                self._wait_for_link(source)
                continue
            if batch is not None:
                self.queue.put(batch, wait=False)
            self._ask_kernel(source)
        # What the ring buffer still holds was captured before the stop.
        until = time.monotonic() + 1.0
        while time.monotonic() < until and (batch := source.read()) is not None:
            self.queue.put(batch, wait=False)
        self._ask_kernel(source, at_once=True)

    def _wait_for_link(self, source: InterfaceReader) -> None:
        """Wait until an interface is up again; the handle stays good, and needs no privilege.

        Raises:
            CaptureError: The interface is gone.
        """
        began = time.monotonic()
        self.gaps += 1
        self._down_since = began
        try:
            self._stop_asked.wait(DOWN_LOOK_S)
            while not (self._stop_asked.is_set() or source.is_up()):
                self._stop_asked.wait(DOWN_LOOK_S)
        finally:
            self._down_since = None
            self.gap_s += time.monotonic() - began

    @property
    def down(self) -> bool:
        """Whether the interface is down just now."""
        return self._down_since is not None

    def _ask_kernel(self, source: InterfaceReader, *, at_once: bool = False) -> None:
        now = time.monotonic()
        if at_once or now - self._counted_at >= 0.25:
            self._kernel, self._counted_at = source.counts(), now

    def _read_capture(self, source: CaptureReader) -> None:
        first: PacketBatch | None = None
        for batch in source:
            if first is None and len(batch):
                first = batch
                if source.size is None:
                    self.live = abs(time.time() - int(batch.timestamps[0]) / 1e9) < LIVE_WITHIN_S
            self.queue.put(owned(batch), wait=not self.live)
            # Who writes to our pipe is often stopped with us, and hands over its last packets then.
            if self._stop_asked.is_set() and not self.may_block:
                break
        if source.damage is not None:
            self.error = f"{source.name}: {source.damage}"
