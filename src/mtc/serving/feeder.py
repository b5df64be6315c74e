"""The thread that reads packets, from an interface or a capture, into the queue to the model."""

import contextlib
import threading
import time

from mtc.capture import CaptureReader, PacketBatch
from mtc.capture.interface import InterfaceReader, KernelCounts
from mtc.errors import CaptureError
from mtc.serving.packet_queue import PacketQueue, owned

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
    """

    def __init__(self, source: InterfaceReader | CaptureReader, queue: PacketQueue) -> None:
        """Read ``source``, which is closed at the end, into ``queue``."""
        super().__init__(name="feeder", daemon=True)
        self.queue = queue
        self.live = isinstance(source, InterfaceReader)
        self.may_block = isinstance(source, CaptureReader) and source.size is None
        self.error: str | None = None
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
        """Read no more; what is in the queue is still judged."""
        self._stop_asked.set()

    def kernel_counts(self) -> KernelCounts:
        """What the kernel dropped so far; zeros for a capture."""
        return self._kernel

    def _read_interface(self, source: InterfaceReader) -> None:
        while not self._stop_asked.is_set():
            batch = source.read()
            if batch is not None:
                self.queue.put(batch, wait=False)
            self._ask_kernel(source)
        # What the ring buffer still holds was captured before the stop.
        until = time.monotonic() + 1.0
        while time.monotonic() < until and (batch := source.read()) is not None:
            self.queue.put(batch, wait=False)
        self._ask_kernel(source, at_once=True)

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
