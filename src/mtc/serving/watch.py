"""The watch itself: packets from a feeder through the engine to the sinks, until it ends or is stopped."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from mtc.capture import PacketBatch
from mtc.datasets.flow_features.features import FEATURES
from mtc.inference import Classifier
from mtc.serving.engine import NEVER, SamplingRate, WatchEngine
from mtc.serving.events import Event, EventMaker
from mtc.serving.feature_engine import FeatureEngine
from mtc.serving.feeder import Feeder
from mtc.serving.watch_settings import WatchSettings

if TYPE_CHECKING:
    from mtc.serving.feature_engine import FeatureEngine


TICK_S = 0.25

GRACE_S = 1.0
"""How long a stop waits for what a program before us in a pipe still hands over at its own end."""


class Outlet(Protocol):
    """What takes the events: the sinks, or a list in a test."""

    def put(self, event: Event) -> None:
        """Take one event."""
        ...

    def flush(self) -> None:
        """Let out what is held back; called a few times a second."""
        ...

    def status(self) -> list[dict[str, Any]]:
        """What each sink says of itself, as in events of kind ``stats``."""
        ...


class Watch:
    """One run of a watch.

    Attributes:
        engine: Classifies the packets.
        feeder: Reads them.
    """

    def __init__(
        self,
        feeder: Feeder,
        engine: WatchEngine | FeatureEngine,
        maker: EventMaker,
        outlet: Outlet,
        *,
        stats_interval_s: float = 10.0,
        on_tick: Callable[["Watch"], None] | None = None,
    ) -> None:
        """Prepare a run.

        Args:
            feeder: Not started yet.
            engine: Whose events go to ``outlet`` too.
            maker: Makes the events of kind ``stats``.
            outlet: Takes the events of kind ``stats``.
            stats_interval_s: Seconds between those.
            on_tick: Called about four times a second.
        """
        self.engine, self.feeder = engine, feeder
        self._maker, self._outlet = maker, outlet
        self._interval_s = stats_interval_s
        self._on_tick = on_tick
        self._sampling = SamplingRate()
        self._stop_asked = threading.Event()
        self._began = self._stats_at = time.monotonic()
        self._newest_at = self._began
        self._stopped_at = 0.0

    def stop(self) -> None:
        """End the run: no more packets are read, what was read is classified; may be called from a signal."""
        self._stopped_at = time.monotonic()
        self._stop_asked.set()
        self.feeder.stop()

    def run(self) -> None:
        """Watch until the packets end or ``stop`` is called, and report all flows that are left."""
        queue = self.feeder.queue
        self._began = self._stats_at = self._newest_at = tick_at = time.monotonic()
        self.feeder.start()
        while not queue.ended and not self._given_up():
            batch = queue.get(TICK_S)
            if batch is not None:
                before = self.engine.now
                self.engine.take(batch)
                if self.engine.now > before:
                    self._newest_at = time.monotonic()
            if time.monotonic() - tick_at >= TICK_S:
                tick_at = time.monotonic()
                self._tick(tick_at)
        reason = "stopped" if self._stop_asked.is_set() else "end_of_input"
        self.engine.finish(self._now(), reason)
        self._outlet.put(self.stats(final=True))

    def stats(self, *, final: bool = False) -> Event:
        """The event with the counts so far."""
        now = time.monotonic()
        interval = now - self._stats_at
        counts, queue, kernel = self.engine.counts, self.feeder.queue, self.feeder.kernel_counts()
        found: dict[str, Any] = {
            "final": final,
            "uptime_s": round(now - self._began, 3),
            "interval_s": round(interval, 3),
            "packets": counts.packets,
            "left_out": dict(counts.left_out),
            "bytes": counts.wire_bytes,
            "dropped": {
                "kernel": kernel.dropped,
                "interface": kernel.interface_dropped,
                "queue": queue.dropped,
                "sampling": counts.sampling,
            },
            "flows": {
                "total": len(self.engine.flows),
                "active": self.engine.flows.held,
                "ended": counts.flows_ended,
                "judged": counts.flows_judged,
                "sampled_out": counts.flows_sampled_out,
                "evicted": counts.flows_evicted,
            },
            "samples": {"total": counts.samples, "judged": counts.judged},
            "cut_samples": counts.cut_samples,
            "sampling_rate": round(self.engine.rate, 6),
            "queue": {"packets": queue.packets, "bytes": queue.bytes, "fill": round(queue.fill, 4)},
            "sinks": self._outlet.status(),
        }
        if self.feeder.gaps:
            found["gaps"] = {"count": self.feeder.gaps, "seconds": round(self.feeder.gap_s, 3)}
        if (rss := resident_bytes()) is not None:
            found["rss_bytes"] = rss
        return self._maker.stats(found, time.time_ns() // 1000 * 1000)

    def troubles(self) -> dict[str, str]:
        """What is dropped and which sinks are down, as sentences by what they are about."""
        counts, queue, kernel = self.engine.counts, self.feeder.queue, self.feeder.kernel_counts()
        found = {}
        dropped = {"kernel": kernel.dropped, "queue": queue.dropped}
        if any(dropped.values()):
            found["packets"] = "packets dropped so far: " + ", ".join(
                f"{count:,} by the {where}" for where, count in dropped.items() if count
            )
        if self.feeder.gaps:
            times = f"{self.feeder.gaps:,} times, {self.feeder.gap_s:.1f} s in all"
            found["link"] = f"the interface went down: {times}" + (
                ", and is down" if self.feeder.down else ""
            )
        if counts.cut_samples:
            found["snaplen"] = "samples are cut by the snap length: their verdicts are made of fewer bytes"
        if counts.sampling or self.engine.rate < 1:
            rate = f"{self.engine.rate:.1%}"
            found["sampling"] = (
                f"packets come faster than the model can classify: {rate} of new flows are classified"
            )
        for sink in self._outlet.status():
            name = sink["sink"]
            if not sink["up"]:
                found[name] = f"{name} is down ({sink['error']}): {sink['waiting']:,} events wait"
            elif sink["lost"]:
                found[name] = f"{name} is up"
            if sink["lost"]:
                found[name] += f", {sink['lost']:,} lost"
        return found

    def _given_up(self) -> bool:
        """Whether a stream that was stopped keeps silent: its thread waits for it, we do not."""
        waited = self._stop_asked.is_set() and time.monotonic() - self._stopped_at > GRACE_S
        return waited and self.feeder.may_block and not self.feeder.queue.packets

    def _now(self) -> int:
        """The time by the packets' clock, ns: that of the newest, and what has passed since on a link."""
        now = self.engine.now
        if self.feeder.live and now != NEVER:
            now += int((time.monotonic() - self._newest_at) * 1e6) * 1000
        return now

    def _tick(self, now_s: float) -> None:
        if self.feeder.live:
            self._sampling.update(self.feeder.queue.fill, now_s)
            self.engine.rate = self._sampling.rate
        self.engine.tick(self._now())
        if now_s - self._stats_at >= self._interval_s:
            self._outlet.put(self.stats())
            self._stats_at = now_s
        self._outlet.flush()
        if self._on_tick is not None:
            self._on_tick(self)


def resident_bytes() -> int | None:
    """Memory of this process, where the system reports it."""
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    except (OSError, ValueError, IndexError):
        return None
    return pages * os.sysconf("SC_PAGE_SIZE")


def engine_for(
    classifier: Classifier,
    maker: EventMaker,
    emit: Callable[[Event], None],
    settings: WatchSettings | None = None,
    *,
    reject: bool = True,
) -> "WatchEngine | FeatureEngine":
    """The engine that a model needs; arguments as for ``WatchEngine``."""
    if not classifier.reads_features:
        return WatchEngine(classifier, maker, emit, settings, reject=reject)
    from mtc.serving.feature_engine import FeatureEngine  # its libraries are of no use to other models

    return FeatureEngine(classifier, maker, emit, settings, reject=reject)


def warm_up(classifier: Classifier) -> None:
    """Load what the first packet would wait for: compiled kernels, and the model's first call."""
    frame = np.frombuffer(_FRAME, np.uint8)
    one = np.ones(1, np.int64)
    batch = PacketBatch(
        data=frame,
        offsets=one - 1,
        caplens=one * len(frame),
        wirelens=one * len(frame),
        timestamps=one,
        link_types=np.full(1, 101, np.int32),
        first_packet=1,
    )
    maker = EventMaker({"name": "", "version": ""}, "")
    engine = engine_for(classifier, maker, lambda event: None)
    engine.take(batch)
    engine.finish(0, "stopped")
    if classifier.reads_features:  # a flow of one packet may have no verdict
        classifier.predict(np.zeros((1, len(FEATURES))))


_FRAME = bytes.fromhex("45000021000000004011000000000000000000000400040000000d0000") + b"hello"
"""A UDP packet over IPv4 with five bytes of payload."""
