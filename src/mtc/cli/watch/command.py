"""``mtc watch``: live verdicts from an interface, or from a capture on standard input."""

import math
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mtc.cli.watch import options
from mtc.errors import CaptureError, MtcError, UsageError
from mtc.files import display_name

if TYPE_CHECKING:
    from mtc.capture import CaptureReader
    from mtc.capture.interface import InterfaceReader
    from mtc.inference import Classifier
    from mtc.serving.feeder import Feeder
    from mtc.serving.sinks import Outlets, SinkOptions
    from mtc.serving.watch import Watch

MIB = 1 << 20
MOST_RING_MB = 2048
"""libpcap counts the bytes of its buffer in 31 bits."""
BATCH_BYTES = 1 << 20
TOLD_EVERY_S = 5.0
FINISH_S = 4.0
"""How long the end waits for the sinks; what they do not take stays on disk."""
LOCAL = ("file:", "parquet:")
"""Sinks that are down only where a disk is full, or broken."""
LAST_S = 8.0
"""After a signal, how long a reader of standard output, or anything else, may hold up the end."""


def watch(
    source: options.Input,
    model: options.Model = "iscx",
    as_json: options.Json = False,
    sink: options.Sinks = None,
    sink_token: options.SinkToken = None,
    rotate_mb: options.RotateMb = 100,
    rotate_hours: options.RotateHours = 24,
    keep_files: options.KeepFiles = 30,
    spool: options.Spool = None,
    spool_mb: options.SpoolMb = 256,
    bpf: options.Bpf = "",
    snaplen: options.Snaplen = 262_144,
    ring_mb: options.RingMb = 64,
    queue_mb: options.QueueMb = 64,
    promiscuous: options.Promiscuous = True,
    user: options.User = None,
    packets: options.Packets = None,
    early: options.Early = None,
    verdict_timeout: options.VerdictTimeout = 5,
    idle_timeout: options.IdleTimeout = 60,
    active_timeout: options.ActiveTimeout = 1800,
    max_flows: options.MaxFlows = 1 << 18,
    decapsulate: options.Decapsulate = True,
    probabilities: options.Probabilities = False,
    names: options.Names = True,
    pseudonymize: options.Pseudonymize = None,
    reopen: options.Reopen = True,
    stats_interval: options.StatsInterval = 10,
) -> None:
    """Give flows verdicts as they happen, until Ctrl-C.

    [dim]mtc watch eth0[/dim]
    [dim]tcpdump -i eth0 -w - | mtc watch - --sink file:events.jsonl --sink kafka://broker/mtc[/dim]
    """
    numbers = (ring_mb, queue_mb, rotate_mb, rotate_hours, stats_interval)
    if not (all(0 < number < math.inf for number in numbers) and 0 <= spool_mb < math.inf):
        raise UsageError("sizes and times must be positive, and finite")
    if ring_mb >= MOST_RING_MB:
        raise UsageError(f"--ring-mb must be below {MOST_RING_MB}")

    from mtc.serving.sinks import SinkOptions
    from mtc.serving.watch_settings import WatchSettings

    live = _is_interface(source)
    settings = WatchSettings(
        first_packets=packets,
        early_confidence=early,
        verdict_timeout_s=verdict_timeout,
        idle_timeout_s=idle_timeout,
        active_timeout_s=active_timeout,
        max_flows=max_flows,
        decapsulate=decapsulate,
        snaplen=snaplen if live else 0,
        probabilities=probabilities,
        names=names,
    )
    sink_options = SinkOptions(sink_token, int(rotate_mb * MIB), rotate_hours * 3600, keep_files)

    def opened() -> "InterfaceReader | CaptureReader":
        if not live:
            return _open_capture(source, bpf)
        reader = _open_interface(source, bpf, snaplen, int(ring_mb * MIB), promiscuous)
        _drop_privileges(user)
        return reader

    def outlets(urls: list[str], watcher: Any) -> "Outlets":
        return _outlets(urls, sink_options, spool, int(spool_mb * MIB), watcher)

    show_table = not sink and not as_json and sys.stdout.isatty()
    urls = list(sink or (() if show_table else ("stdout",)))

    def feeder(reader: "InterfaceReader | CaptureReader") -> "Feeder":
        from mtc.serving.feeder import Feeder
        from mtc.serving.packet_queue import PacketQueue

        return Feeder(reader, PacketQueue(int(queue_mb * MIB)), reopen=reopen)

    _watch(source, model, settings, opened, outlets, urls, show_table, pseudonymize, feeder, stats_interval)


def _watch(
    source: str,
    model: str,
    settings: Any,
    opened: "Callable[[], InterfaceReader | CaptureReader]",
    outlets: "Callable[[list[str], Any], Outlets]",
    urls: list[str],
    show_table: bool,
    pseudonymize: Path | None,
    feeding: "Callable[[InterfaceReader | CaptureReader], Feeder]",
    stats_interval: float,
) -> None:
    from mtc.inference import Classifier
    from mtc.serving.events import EventMaker
    from mtc.serving.pseudonyms import Pseudonyms
    from mtc.serving.watch import Watch, engine_for, warm_up

    pseudonym = None if pseudonymize is None else Pseudonyms.from_file(pseudonymize)
    classifier = Classifier.load(model)
    warm_up(classifier)
    maker = EventMaker(_model(classifier), display_name(source), pseudonym=pseudonym)
    _warn_of_thresholds(classifier)
    table = None
    if show_table:
        from mtc.cli.watch.table import WatchTable

        table = WatchTable(source, tuple(classifier.tasks))
    # The interface is opened when all that takes long is done: its packets are taken at once.
    reader = opened()
    try:
        sinks = outlets(urls, table.add if table else None)
    except MtcError:
        reader.close()
        raise
    feeder = feeding(reader)
    engine = engine_for(classifier, maker, sinks.put, settings)
    on_tick = table.update if table else _teller()
    run = Watch(feeder, engine, maker, sinks, stats_interval_s=stats_interval, on_tick=on_tick)
    _run(run, sinks, table)
    if feeder.error is not None:
        if not engine.counts.packets:
            raise CaptureError(feeder.error)
        typer.echo(f"mtc: {feeder.error}", err=True)
        raise typer.Exit(3)


def _is_interface(source: str) -> bool:
    """Whether an interface is meant; its name wins over that of a file."""
    from mtc.capture.interface import interfaces

    return source in interfaces() or (source != "-" and not Path(source).exists())


def _open_capture(source: str, bpf: str) -> "CaptureReader":
    from mtc.capture import open_capture

    if bpf:
        raise UsageError("--filter is of an interface; a capture is filtered by tcpdump, or by mtc classify")
    return open_capture(source, batch_bytes=BATCH_BYTES, live=True)


def _open_interface(
    source: str, bpf: str, snaplen: int, ring_bytes: int, promiscuous: bool
) -> "InterfaceReader":
    from mtc.capture.interface import InterfaceReader

    return InterfaceReader(source, bpf=bpf, snaplen=snaplen, ring_bytes=ring_bytes, promiscuous=promiscuous)


def _drop_privileges(user: str | None) -> None:
    """Stop being root: an interface that is open needs no privilege."""
    import pwd

    name = user or os.environ.get("SUDO_USER", "")
    if os.geteuid() != 0 or name in ("", "root"):
        return
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"--user {name}: no such user") from None
    os.initgroups(name, entry.pw_gid)
    os.setgid(entry.pw_gid)
    os.setuid(entry.pw_uid)
    os.environ["HOME"] = entry.pw_dir


def _model(classifier: "Classifier") -> dict[str, str]:
    """Name and version of a model, as in its events."""
    import hashlib

    from mtc.inference import find_model
    from mtc.models.files.card import WEIGHTS

    with (find_model(classifier.name) / WEIGHTS).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"name": classifier.name, "version": f"{classifier.model.card.mtc_version}+{digest[:12]}"}


def _warn_of_thresholds(classifier: "Classifier") -> None:
    if tasks := classifier.tasks_without_threshold("flow"):
        typer.echo(
            f"mtc: model {classifier.name} has no threshold for {', '.join(tasks)}: never unknown", err=True
        )


def _outlets(
    urls: list[str], sink_options: "SinkOptions", spool: Path | None, spool_bytes: int, watcher: Any
) -> "Outlets":
    from mtc.serving.sinks import Outlets

    if spool is None:
        state = os.environ.get("XDG_STATE_HOME") or str(Path.home() / ".local" / "state")
        spool = Path(state) / "mtc" / "spool"
    folder = spool if spool_bytes else None
    return Outlets(urls, sink_options, spool=folder, spool_bytes=spool_bytes, watcher=watcher)


def _teller() -> "Callable[[Watch], None]":
    """Says on stderr, every few seconds, what is dropped and which sink is down, where that changes."""
    listed: dict[str, str] = {}
    at = time.monotonic()

    def report(run: "Watch") -> None:
        nonlocal at
        if time.monotonic() - at < TOLD_EVERY_S:
            return
        at = time.monotonic()
        for about, line in run.troubles().items():
            if listed.get(about) != line:
                listed[about] = line
                typer.echo(f"mtc: {line}", err=True)

    return report


def _run(run: "Watch", sinks: "Outlets", table: Any) -> None:
    """Watch until the end, a signal, or the second signal, which does not wait for the last flows."""
    import signal

    numbers = (signal.SIGINT, signal.SIGTERM)
    last = threading.Timer(LAST_S, _end_at_once, (sinks,))
    last.daemon = True

    def stop(number: int, frame: Any) -> None:
        for again in numbers:
            signal.signal(again, signal.default_int_handler)
        last.start()
        run.stop()

    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        sinks.start()
        if table is None:
            run.run()
        else:
            with table:
                run.run()
        left = sinks.finish(FINISH_S)
    finally:
        last.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)
    _report_left(left)
    if any(sink["lost"] or (not sink["up"] and sink["sink"].startswith(LOCAL)) for sink in left):
        raise typer.Exit(3)


def _end_at_once(sinks: "Outlets") -> None:
    """The last resort, in a thread of its own: the main one waits for something that does not come."""
    sinks.abandon()
    print("mtc: stopped while an output takes nothing any more", file=sys.stderr, flush=True)
    os._exit(3)


def _report_left(status: list[dict[str, Any]]) -> None:
    for sink in status:
        why = f" ({sink['error']})" if "error" in sink else ""
        if sink["waiting"]:
            typer.echo(
                f"mtc: {sink['sink']}: {sink['waiting']:,} events wait for the next start{why}", err=True
            )
        if sink["lost"]:
            typer.echo(f"mtc: {sink['sink']}: {sink['lost']:,} events lost{why}", err=True)
