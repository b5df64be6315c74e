"""Jobs: uploads that wait, run, are done, and are forgotten."""

import asyncio
import contextlib
import logging
import math
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from mtc.serving.http.api_error import ApiError
from mtc.serving.http.models import ModelRegistry
from mtc.serving.http.settings import ServeSettings
from mtc.serving.http.storage import Storage, deleted
from mtc.serving.http.uploads import Upload
from mtc.serving.http.workers import TaskFailed, Workers

FORGET_EVERY_S = 5
FAIR_S, FAIR_RATE = 1.0, 64 << 10
"""An upload that has had so many seconds, and brought fewer bytes a second, gives way to others."""


class State(StrEnum):
    """Where a job stands."""

    receiving = "receiving"
    waiting = "waiting"
    running = "running"
    done = "done"
    failed = "failed"


@dataclass(slots=True, eq=False)
class Job:
    """One upload and what becomes of it.

    Attributes:
        id: Random; who knows it can ask for the job.
        folder: Where its captures and results lie.
        model: Name of the model that classifies.
        per: ``flow`` or ``packet``: what gets a verdict.
        reject: Whether verdicts below the model's threshold are ``unknown``.
        pseudonymise: Whether addresses are pseudonyms in all that leaves the server.
        state: Where it stands.
        created: Unix seconds.
        uploads: Its captures.
        read: Bytes of the captures that have been read.
        size: Bytes of the captures.
        error: Why it failed.
        summary: What is known at the end, see ``work.classify.Tally``.
        seconds: Wall time it took.
        expires: Unix seconds at which it is deleted; None while it is not done.
    """

    id: str
    folder: Path
    model: str
    per: str
    reject: bool
    pseudonymise: bool
    state: State = State.receiving
    created: float = field(default_factory=time.time)
    uploads: list[Upload] = field(default_factory=list)
    read: int = 0
    size: int = 0
    error: str | None = None
    summary: dict[str, Any] | None = None
    seconds: float | None = None
    expires: float | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def ended(self) -> bool:
        """Whether nothing more happens to it."""
        return self.state in (State.done, State.failed)


class Jobs:
    """All jobs of a server."""

    def __init__(
        self, settings: ServeSettings, storage: Storage, workers: Workers, models: ModelRegistry, key: bytes
    ) -> None:
        """Begin without jobs; ``start`` begins to work on them. Pseudonyms are made with ``key``."""
        self._settings = settings
        self._limits = settings.limits
        self.storage = storage
        self._workers = workers
        self._models = models
        self._jobs: dict[str, Job] = {}
        self._queue: asyncio.Queue[Job] = asyncio.Queue()
        self._tasks: list[asyncio.Task[None]] = []
        self._key = key
        self._questions = asyncio.Semaphore(1)
        self._asking = 0
        self.on_end: Callable[[Job], None] = lambda job: None

    def start(self) -> None:
        """Begin to work, in the running event loop."""
        count = self._limits.running
        self._tasks = [asyncio.create_task(self._work()) for _ in range(count)]
        self._tasks.append(asyncio.create_task(self._forget_old()))

    async def stop(self) -> None:
        """End all jobs and delete what they have."""
        for job in self._jobs.values():
            job.stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.to_thread(self._workers.close)
        self.storage.close()

    def __iter__(self) -> Iterator[Job]:
        """All jobs, newest first."""
        return iter(sorted(self._jobs.values(), key=lambda job: -job.created))

    def count(self, state: State) -> int:
        """How many jobs stand there."""
        return sum(job.state is state for job in self._jobs.values())

    def find(self, job_id: str) -> Job:
        """A job by its id.

        Raises:
            ApiError: There is none.
        """
        job = self._jobs.get(job_id)
        if job is None:
            raise ApiError(404, "no such job: it may have expired", "job")
        return job

    def open(self, model: str | None, per: str, reject: bool, pseudonymise: bool) -> Job:
        """A new job, whose captures are still to come.

        Raises:
            ApiError: Too many jobs wait, or there is no such model.
        """
        if (
            self.count(State.waiting) + self.count(State.running)
            >= self._limits.waiting + self._limits.running
        ):
            raise ApiError(503, "too many jobs are waiting; try again later", "busy")
        self._make_room()
        name = model or self._settings.default_model
        self._models.card(name)
        if per == "packet":
            self._models.check_reads_packets(name)
        job_id = secrets.token_urlsafe(16)
        job = Job(
            id=job_id,
            folder=self.storage.make(job_id),
            model=name,
            per=per,
            reject=reject,
            pseudonymise=pseudonymise or self._settings.pseudonymise,
        )
        self._jobs[job_id] = job
        return job

    def receive(self, job: Job, size: int) -> None:
        """Count bytes of a job's captures before they are written.

        Raises:
            ApiError: There is no room for them, or the job has been deleted.
        """
        self.storage.take(job.id, size)
        job.size += size

    def _make_room(self) -> None:
        """Let the slowest upload give way where as many come in as may.

        Raises:
            ApiError: All of them come in at a fair pace.
        """
        now = time.time()
        coming = [
            (job.size / (now - job.created), job)
            for job in self._jobs.values()
            if job.state is State.receiving and not job.stop.is_set() and now - job.created >= FAIR_S
        ]
        receiving = sum(job.state is State.receiving and not job.stop.is_set() for job in self._jobs.values())
        if receiving < self._limits.receiving:
            return
        pace, slowest = min(coming, key=lambda found: found[0], default=(math.inf, None))
        if slowest is None or pace >= FAIR_RATE:
            raise ApiError(503, "too many uploads come in at once; try again later", "busy")
        slowest.stop.set()

    def submit(self, job: Job, uploads: list[Upload]) -> None:
        """The captures of a job have come: it waits for its turn.

        Raises:
            ApiError: The job was deleted meanwhile.
        """
        if job.id not in self._jobs:
            raise deleted()
        job.uploads = uploads
        job.size = sum(upload.size for upload in uploads)
        job.state = State.waiting
        self._queue.put_nowait(job)

    async def delete(self, job: Job) -> None:
        """Forget a job, whatever it is doing, with all that belongs to it."""
        job.stop.set()
        self._jobs.pop(job.id, None)
        await asyncio.to_thread(self.storage.delete, job.id)
        if not job.ended:
            job.state, job.error = State.failed, "deleted"
        await _tell(job)

    async def packets(self, job: Job, flow: int, offset: int, limit: int) -> dict[str, Any]:
        """Packets of a flow, see ``work.packets``.

        Raises:
            ApiError: There is no such flow, or the question cannot be answered.
        """
        self._models.check_reads_packets(job.model)
        for capture in summary_of(job)["captures"]:
            number = flow - capture["first_flow"]
            if 0 <= number < capture["flows"]:
                question = {"capture": capture["capture"], "flow": number, "offset": offset, "limit": limit}
                return {**await self._ask(job, "packets", question), "capture": capture["capture"]}
        raise ApiError(404, f"no flow {flow}", "flow")

    async def explain(
        self, job: Job, packet: int, capture: str | None, task: str | None, label: str | None
    ) -> dict[str, Any]:
        """Why a packet got its verdict, see ``work.explain``.

        Raises:
            ApiError: There is no such packet, or the question cannot be answered.
        """
        names = [found["capture"] for found in summary_of(job)["captures"]]
        if not names or capture not in (None, *names):
            raise ApiError(404, "no such capture in this job", "capture")
        question = {"capture": capture or names[0], "packet": packet, "task": task, "label": label}
        return await self._ask(job, "explain", question)

    async def _ask(self, job: Job, kind: str, question: dict[str, Any]) -> dict[str, Any]:
        if self._asking >= self._limits.waiting:
            raise ApiError(503, "too many questions are waiting; try again later", "busy")
        self._asking += 1
        try:
            async with self._questions:
                return await self._workers.run(
                    {**self._task(job, kind), **question}, seconds=self._limits.question_s
                )
        except TaskFailed as error:
            raise ApiError(422, str(error), "question") from None
        finally:
            self._asking -= 1

    def _task(self, job: Job, kind: str) -> dict[str, Any]:
        limits = self._limits
        return {
            "kind": kind,
            "folder": str(job.folder),
            "captures": [{"name": upload.name, "path": str(upload.path)} for upload in job.uploads],
            "model": self._models.path(job.model),
            "readable": [self._models.folder(job.model)],
            "model_name": job.model,
            "per": job.per,
            "reject": job.reject,
            "pseudonym_key": self._key.hex() if job.pseudonymise else None,
            "unpacked_bytes": limits.unpacked_bytes,
            "members": limits.members,
            "memory_bytes": limits.memory_bytes,
            "result_bytes": limits.result_bytes,
        }

    async def _work(self) -> None:
        while True:
            job = await self._queue.get()
            if job.id not in self._jobs:
                continue
            try:
                await self._run(job)
            except Exception:  # whatever one job does, the next ones get their turn
                logging.getLogger(__name__).exception("job %s", job.id)
                job.state, job.error, job.summary = State.failed, "a defect: see the server's log", None
                job.expires = time.time() + self._limits.keep_s
                await _tell(job)

    async def _run(self, job: Job) -> None:
        job.state = State.running
        await _tell(job)
        began = time.monotonic()

        def progress(message: dict[str, Any]) -> None:
            seen = message["progress"]
            job.read, job.size = int(seen["read"]), int(seen["size"])

        try:
            job.summary = await self._workers.run(
                self._task(job, "classify"), seconds=self._limits.job_s, stop=job.stop, report=progress
            )
            job.state, job.read = State.done, job.size
        except TaskFailed as error:
            job.state, job.error = State.failed, str(error)
        job.seconds = round(time.monotonic() - began, 3)
        job.expires = time.time() + self._limits.keep_s
        if job.id in self._jobs:
            self.storage.measure(job.id)
            self.on_end(job)
        else:  # deleted meanwhile: what its process wrote after that
            self.storage.delete(job.id)
        await _tell(job)

    async def _forget_old(self) -> None:
        while True:
            await asyncio.sleep(min(FORGET_EVERY_S, self._limits.keep_s))
            for job in list(self._jobs.values()):
                if job.expires is not None and job.expires < time.time():
                    await self.delete(job)


async def watch(job: Job, every_s: float) -> Any:
    """Yield at each change of a job, and at its end for the last time; at least each ``every_s``."""
    while True:
        yield job
        if job.ended:
            return
        async with job.changed:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(job.changed.wait(), every_s)


async def _tell(job: Job) -> None:
    async with job.changed:
        job.changed.notify_all()


def summary_of(job: Job) -> dict[str, Any]:
    """What is known of a job that is done.

    Raises:
        ApiError: It is not done.
    """
    if job.state is State.failed:
        raise ApiError(409, f"the job failed: {job.error}", "failed")
    if job.summary is None:
        raise ApiError(409, f"the job is {job.state}", "unfinished")
    return job.summary
