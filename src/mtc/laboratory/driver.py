"""From a plan to a folder of labelled captures: one recording after the other, resumable.

The folder holds ``captures/`` (what crosses the line), ``inside/`` (the same inside the tunnel),
``labels.csv`` (one row per capture, as ``mtc dataset captures`` and ``mtc learn`` read it), and
``lab.json``: the plan with its seed, versions, kernel, and every recording with its result.
"""

import csv
import io
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mtc import __version__
from mtc.errors import InputError, MtcError, OutputError, UsageError
from mtc.laboratory.machine import has_netem, missing_features, missing_programs
from mtc.laboratory.plans import Job, Plan
from mtc.laboratory.recipes import FAMILIES, Recipe, Tunnel, load_recipes, load_tunnels
from mtc.laboratory.recorder import placeholders
from mtc.laboratory.verify import count_packets, find_problem

COLUMNS = (
    "capture",
    "traffic",
    "auxiliary",
    "attack",
    "malicious",
    "program",
    "version",
    "recipe",
    "tunnel",
    "view",
    "vpn",
    "reserved",
    "packets",
    "flows",
    "bytes",
    "seconds",
    "start_delay_s",
    "delay_ms",
    "jitter_ms",
    "loss_percent",
    "rate_mbit_s",
    "mtu",
    "offload",
    "congestion",
    "seed",
)
RECORDING_LIMIT_S = 300
"""Seconds after which a recording is ended, whatever it does."""
_POLL_S = 0.05
_DONE, _FAILED, _SKIPPED = "recorded", "failed", "skipped"
_ATTEMPTS = 2
"""Times that a recording is tried: programs and handshakes fail by chance on a lossy line."""


@dataclass(frozen=True)
class Progress:
    """How far a plan is.

    Attributes:
        done: Recordings that have a result.
        total: Recordings of the plan.
        name: The recording that has just ended.
        result: ``recorded``, or why it is not there.
    """

    done: int
    total: int
    name: str
    result: str


def record_plan(
    plan: Plan,
    out: Path,
    *,
    workers: int = 1,
    folders: Sequence[Path] = (),
    advance: Callable[[Progress], None] | None = None,
) -> dict[str, Any]:
    """Record a plan into a folder, or go on where an earlier call ended.

    Args:
        plan: What to record.
        out: The folder; one that holds recordings of another plan or seed is refused.
        workers: Recordings at a time.
        folders: Further folders of recipes.
        advance: Called after every recording.

    Returns:
        The content of ``lab.json``.

    Raises:
        UsageError: The machine lacks something, or the folder is of another plan.
        OutputError: The folder cannot be written.
    """
    missing = missing_features()
    if missing:
        raise UsageError("; ".join(f"{name} is missing: {what}" for name, what in missing.items()))
    recipes, tunnels = load_recipes(folders), load_tunnels()
    jobs = list(plan.jobs(recipes, tunnels))
    if not jobs:
        raise UsageError(f"plan {plan.name} has no recording")
    laboratory = _Folder(out, plan, recipes, tunnels)
    waiting = [job for job in jobs if not laboratory.has(job)]
    done = len(jobs) - len(waiting)
    for job in list(waiting):
        reason = _cannot_run(recipes[job.recipe], tunnels.get(job.tunnel), job)
        if reason:
            waiting.remove(job)
            done += 1
            laboratory.add(job, {_SKIPPED: reason})
    running: list[_Recorder] = []
    try:
        while waiting or running:
            while waiting and len(running) < workers:
                running.append(_Recorder(waiting.pop(0), laboratory, folders))
            time.sleep(_POLL_S)
            for recorder in [recorder for recorder in running if recorder.ended()]:
                running.remove(recorder)
                result = laboratory.take(recorder)
                if _FAILED in result and recorder.attempt < _ATTEMPTS:
                    running.append(_Recorder(recorder.job, laboratory, folders, recorder.attempt + 1))
                    continue
                laboratory.add(recorder.job, result)
                done += 1
                if advance is not None:
                    word = result.get(_FAILED, _DONE)
                    advance(Progress(done, len(jobs), recorder.job.name, str(word)))
    finally:
        for recorder in running:
            recorder.end()
        laboratory.finish()
    return laboratory.content


def read_recording(folder: Path) -> dict[str, Any]:
    """The content of ``lab.json`` of a recorded folder.

    Raises:
        InputError: The folder holds no recording.
    """
    try:
        content = json.loads((folder / "lab.json").read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"{folder}: no recording of the laboratory (lab.json is missing)") from error
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{folder}/lab.json cannot be read: {error}") from error
    if not isinstance(content, dict) or not {"plan", "recordings"} <= content.keys():
        raise InputError(f"{folder}/lab.json was not written by mtc lab record")
    return content


def _cannot_run(recipe: Recipe, tunnel: Tunnel | None, job: Job) -> str:
    """Why a recording cannot be made on this machine; empty where it can."""
    absent = missing_programs((*recipe.needs, *(tunnel.needs if tunnel else ())))
    if absent:
        packages = (*recipe.packages, *(tunnel.packages if tunnel else ()))
        return f"missing {', '.join(absent)} (apt-get install {' '.join(packages)})"
    if tunnel is not None and not set(recipe.ports) <= set(tunnel.carries):
        return f"{job.tunnel} carries {' and '.join(tunnel.carries)} only"
    line = job.line
    if line.offload and (line.delay_ms or line.loss_percent or line.rate_mbit_s) and not has_netem():
        return "this kernel has no netem, which a line with offloading and delay needs"
    return ""


class _Recorder:
    """The process of one recording."""

    def __init__(self, job: Job, laboratory: "_Folder", folders: Sequence[Path], attempt: int = 1) -> None:
        self.job, self.attempt = job, attempt
        self.capture, self.inner = laboratory.partial(job)
        order = {"job": job.to_json(), "folders": [str(folder.resolve()) for folder in folders]}
        order |= {"capture": str(self.capture), "inner": str(self.inner)}
        file = self.capture.with_suffix(".json")
        file.write_text(json.dumps(order), encoding="utf-8")
        # The kernel ends the recorder with this process, and all of its namespace with the recorder.
        isolated = ["setpriv", "--pdeathsig", "KILL", "unshare", "--pid", "--fork", "--kill-child=KILL"]
        isolated += ["--mount", "--mount-proc", "--net", "--ipc", "--uts"]
        module = [sys.executable, "-m", "mtc.laboratory.recorder", str(file)]
        self._process = subprocess.Popen(
            [*isolated, *module],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._until = time.monotonic() + RECORDING_LIMIT_S

    def ended(self) -> bool:
        """Whether the recording is over, of itself or by its limit."""
        if self._process.poll() is None and time.monotonic() > self._until:
            self.end()
        return self._process.poll() is not None

    def end(self) -> None:
        """End the recording and everything it started."""
        self._process.kill()
        self._process.wait()

    def result(self) -> dict[str, Any]:
        """What the recorder said."""
        output, errors = self._process.communicate()
        try:
            return dict(json.loads(output.decode()))
        except ValueError:
            lines = errors.decode(errors="replace").strip().splitlines()
            if self._process.returncode == -signal.SIGKILL and not lines:
                return {_FAILED: f"not over after {RECORDING_LIMIT_S} s"}
            return {_FAILED: f"the recorder ended with {self._process.returncode}: {' / '.join(lines[-2:])}"}


class _Folder:
    """The folder of recordings, always in a state from which a later call can go on."""

    def __init__(
        self, out: Path, plan: Plan, recipes: Mapping[str, Recipe], tunnels: Mapping[str, Tunnel]
    ) -> None:
        self._out, self._recipes, self._tunnels = out, recipes, tunnels
        self._versions: dict[str, str] = {}
        self.work = out / ".partial"
        described = json.loads(json.dumps(asdict(plan)))
        self.content: dict[str, Any] = {
            "plan": described,
            "mtc": __version__,
            "kernel": platform.release(),
            "machine": platform.machine(),
            "recordings": {},
        }
        if (out / "lab.json").exists():
            earlier = read_recording(out)
            if earlier.get("plan") != described:
                raise UsageError(f"{out} holds recordings of another plan; choose another folder")
            self.content = earlier
        try:
            shutil.rmtree(self.work, ignore_errors=True)
            for folder in ("captures", "inside", ".partial"):
                (out / folder).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{out} cannot be written: {error.strerror}") from error

    def has(self, job: Job) -> bool:
        """Whether the recording is there, or has failed or been skipped before."""
        return job.name in self.content["recordings"] and _SKIPPED not in self.content["recordings"][job.name]

    def partial(self, job: Job) -> tuple[Path, Path]:
        """Where the captures of a recording lie until they are checked."""
        return (self.work / f"{job.name}.pcap").resolve(), (self.work / f"{job.name}.inside.pcap").resolve()

    def take(self, recorder: _Recorder) -> dict[str, Any]:
        """Check what a recorder left, and keep it where it counts."""
        job = recorder.job
        recipe, tunnel = self._recipes[job.recipe], self._tunnels.get(job.tunnel)
        result = recorder.result()
        if _FAILED in result:
            return result
        ports, values = dict(recipe.ports), placeholders(job, tunnel)
        try:
            if tunnel is None:
                outer = count_packets(recorder.capture, ports, values["server"])
                problem = find_problem(outer, recipe.expect, alone=False)
                inner = None
            else:
                tunnel_ports = {tunnel.transport: (int(values["tunnel_port"]),)}
                outer = count_packets(recorder.capture, tunnel_ports, values["outer_server"])
                problem = find_problem(outer, recipe.expect, alone=True)
                inner = count_packets(recorder.inner, ports, values["server"]) if tunnel.device else None
                if inner is not None:
                    problem = problem or find_problem(inner, recipe.expect, alone=False)
        except MtcError as error:
            return {_FAILED: str(error)}
        log = result.pop("log")
        if problem:
            return {_FAILED: f"{problem}; the client's last lines: {log}"}
        recorder.capture.replace(self._out / "captures" / f"{job.name}.pcap")
        result["outside"] = _numbers(outer)
        if inner is not None:
            recorder.inner.replace(self._out / "inside" / f"{job.name}.pcap")
            result["inside"] = _numbers(inner)
        return result

    def add(self, job: Job, result: dict[str, Any]) -> None:
        """Write down the result of a recording."""
        recipe = self._recipes[job.recipe]
        if _FAILED not in result and _SKIPPED not in result:
            result["version"] = self._version(recipe)
        self.content["recordings"][job.name] = {"job": job.to_json(), **result}
        self._write()

    def finish(self) -> None:
        """Remove what is only for the time of recording."""
        shutil.rmtree(self.work, ignore_errors=True)
        self._write()

    def _version(self, recipe: Recipe) -> str:
        if recipe.name not in self._versions:
            command = ["sh", "-c", f"exec 2>&1; {recipe.version or 'true'}"]
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=20
            )
            lines = done.stdout.decode(errors="replace").strip().splitlines()
            self._versions[recipe.name] = lines[0][:80] if lines else ""
        return self._versions[recipe.name]

    def _write(self) -> None:
        rows = io.StringIO()
        writer = csv.DictWriter(rows, COLUMNS, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(self._rows())
        text = json.dumps(self.content, indent=1) + "\n"
        for name, content in (("labels.csv", rows.getvalue()), ("lab.json", text)):
            partial = self._out / f".{name}"
            partial.write_text(content, encoding="utf-8")
            partial.replace(self._out / name)

    def _rows(self) -> Iterable[dict[str, Any]]:
        for name, recording in sorted(self.content["recordings"].items()):
            job = Job.from_json(recording["job"])
            recipe = self._recipes.get(job.recipe)
            if recipe is None:
                continue
            tunnel = self._tunnels.get(job.tunnel)
            for view, folder in (("outside", "captures"), ("inside", "inside")):
                if view in recording:
                    yield _row(f"{folder}/{name}.pcap", view, recording, job, recipe, tunnel)


def _row(
    capture: str, view: str, recording: Mapping[str, Any], job: Job, recipe: Recipe, tunnel: Tunnel | None
) -> dict[str, Any]:
    """The labels of one capture. Inside a tunnel the traffic looks as it does without one."""
    through = tunnel is not None and view == "outside"
    family = recipe.type in FAMILIES
    return {
        **{name: value for name, value in asdict(job.line).items() if name in COLUMNS},
        **recording[view],
        "capture": capture,
        "traffic": f"VPN {recipe.type}" if through and recipe.type else recipe.type,
        "auxiliary": f"All {recipe.type}" if family else "",
        "attack": recipe.attack or "Benign",
        "malicious": "Malicious" if recipe.attack else "Benign",
        "program": recipe.program,
        "version": recording["version"],
        "recipe": recipe.name,
        "tunnel": job.tunnel,
        "view": view,
        "vpn": int(through),
        "reserved": int(recipe.reserved or (tunnel is not None and tunnel.reserved)),
        "seconds": recording["seconds"],
        "start_delay_s": job.start_delay_s,
        "offload": int(job.line.offload),
        "congestion": recording["congestion"],
        "seed": job.seed,
    }


def _numbers(counts: Any) -> dict[str, int]:
    return {"packets": counts.packets, "flows": counts.flows, "bytes": counts.bytes}
