"""The API's part on jobs: captures in, verdicts out."""

from collections.abc import AsyncIterator
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from mtc.serving.http.api_error import ApiError
from mtc.serving.http.jobs import Jobs, summary_of, watch
from mtc.serving.http.parts import Metrics
from mtc.serving.http.settings import Limits
from mtc.serving.http.shapes import EXAMPLE_ID, SERVER_SENT, JobView, Packets, Problem, Reason
from mtc.serving.http.uploads import receive
from mtc.serving.http.work.results import FILES, MEDIA, find_flows

PROGRESS_EVERY_S = 0.25
LARGEST = 2**53 - 1
"""The largest number that every JSON reader keeps."""

JobId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{22}$", examples=[EXAMPLE_ID])]

REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 409, 422)
}
"""What any question about a job may be answered with."""

UPLOAD_REFUSALS: dict[int | str, dict[str, Any]] = {
    code: {"model": Problem} for code in (400, 401, 403, 404, 408, 413, 422, 503, 507)
}

CAPTURE = {"type": "string", "format": "binary"}
UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "description": "The capture itself, or a form with one or several captures as its files. pcap, "
        "pcapng, snoop; compressed with gzip, zstd, xz, bzip2, or in a zip archive.",
        "content": {
            "application/octet-stream": {"schema": CAPTURE},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["capture"],
                    "properties": {"capture": {"type": "array", "items": CAPTURE}},
                }
            },
        },
    }
}


def make_router(jobs: Jobs, limits: Limits, metrics: Metrics) -> APIRouter:
    """The routes."""
    router = APIRouter(prefix="/api/v1/jobs", tags=["jobs"])
    _add_upload(router, jobs, limits, metrics)
    _add_states(router, jobs)
    _add_verdicts(router, jobs)
    _add_questions(router, jobs)
    return router


def _add_upload(router: APIRouter, jobs: Jobs, limits: Limits, metrics: Metrics) -> None:
    @router.post("", status_code=202, responses=UPLOAD_REFUSALS, openapi_extra=UPLOAD_BODY)
    async def upload(
        request: Request,
        response: Response,
        name: Annotated[str | None, Query(max_length=200, description="What the capture is called.")] = None,
        model: Annotated[str | None, Query(max_length=100, examples=["iscx"])] = None,
        per: Annotated[Literal["flow", "packet"], Query(description="What gets a verdict.")] = "flow",
        reject: Annotated[bool, Query(description="Labels below the model's threshold are unknown.")] = True,
        pseudonymise: Annotated[
            bool, Query(description="Put pseudonyms for addresses, with prefixes kept.")
        ] = False,
    ) -> JobView:
        """Upload captures; the answer is a job that waits for its turn.

        `curl --data-binary @capture.pcap 'http://localhost:8000/api/v1/jobs?name=capture.pcap'`
        """
        job = jobs.open(model, per, reject, pseudonymise)
        try:
            uploads = await receive(
                request, name, job.folder, limits, partial(jobs.receive, job), job.stop.is_set
            )
            jobs.submit(job, uploads)
        except BaseException:
            await jobs.delete(job)
            raise
        metrics.uploads.inc()
        metrics.upload_bytes.inc(job.size)
        response.headers["location"] = f"/api/v1/jobs/{job.id}"
        return JobView.of(job)


def _add_states(router: APIRouter, jobs: Jobs) -> None:
    @router.get("", responses={401: {"model": Problem}, 403: {"model": Problem}})
    async def list_jobs() -> list[JobView]:
        """All jobs that have not expired, newest first."""
        return [JobView.of(job) for job in jobs]

    @router.get("/{job_id}", responses=REFUSALS)
    async def get_job(job_id: JobId) -> JobView:
        """Where a job stands."""
        return JobView.of(jobs.find(job_id))

    @router.delete("/{job_id}", status_code=204, responses=REFUSALS)
    async def delete_job(job_id: JobId) -> None:
        """Delete a job, its captures and its results, whatever it is doing."""
        await jobs.delete(jobs.find(job_id))

    @router.get(
        "/{job_id}/progress",
        response_class=StreamingResponse,
        responses={**REFUSALS, 200: {"content": SERVER_SENT}},
    )
    async def progress(job_id: JobId) -> StreamingResponse:
        """Where a job stands, as server-sent events until it has ended."""
        job = jobs.find(job_id)

        async def lines() -> AsyncIterator[str]:
            async for state in watch(job, PROGRESS_EVERY_S):
                yield f"data: {JobView.of(state).model_dump_json()}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")


def _add_verdicts(router: APIRouter, jobs: Jobs) -> None:
    @router.get(
        "/{job_id}/verdicts",
        response_class=FileResponse,
        responses={
            **REFUSALS,
            200: {
                "description": "What `mtc classify` writes in this format.",
                "content": {media: {"schema": {"type": "string"}} for media in MEDIA.values()},
            },
        },
    )
    async def verdicts(
        job_id: JobId,
        file_format: Annotated[Literal["json", "csv", "parquet"], Query(alias="format")] = "json",
    ) -> FileResponse:
        """The verdicts of a job that is done: JSON lines, CSV or Parquet."""
        job = jobs.find(job_id)
        summary_of(job)
        return FileResponse(
            job.folder / FILES[file_format], media_type=MEDIA[file_format], filename=FILES[file_format]
        )


def _add_questions(router: APIRouter, jobs: Jobs) -> None:
    @router.get("/{job_id}/summary", responses=REFUSALS)
    async def summary(job_id: JobId) -> dict[str, Any]:
        """Counts of labels, bytes by label, what is in each capture, and bytes by label over time."""
        return summary_of(jobs.find(job_id))

    @router.get("/{job_id}/flows", responses=REFUSALS)
    async def flows(
        job_id: JobId,
        text: Annotated[str, Query(max_length=200, description="In an address, a port or a label.")] = "",
        task: Annotated[str | None, Query(max_length=100, examples=["application"])] = None,
        label: Annotated[str | None, Query(max_length=100, examples=["SFTP"])] = None,
        least_confidence: Annotated[float, Query(ge=0, le=1)] = 0,
        offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=10_000)] = 1000,
    ) -> dict[str, Any]:
        """Flows of a job in few fields, filtered: `flows`, and how many there are in `total`."""
        job = jobs.find(job_id)
        tasks = summary_of(job)["tasks"]
        if job.per != "flow":
            raise ApiError(409, "this job has verdicts on packets, not on flows", "per")
        return await find_flows(job.folder, tasks, text, task, label, least_confidence, offset, limit)

    @router.get("/{job_id}/flows/{flow}/packets", responses={**REFUSALS, 503: {"model": Problem}})
    async def packets(
        job_id: JobId,
        flow: Annotated[int, Path(ge=1, le=LARGEST, examples=[1])],
        offset: Annotated[int, Query(ge=0, le=LARGEST)] = 0,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    ) -> Packets:
        """Packets of a flow, each with its own verdict or with why it has none."""
        return Packets(**await jobs.packets(jobs.find(job_id), flow, offset, limit))

    @router.get("/{job_id}/packets/{packet}/reason", responses={**REFUSALS, 503: {"model": Problem}})
    async def reason(
        job_id: JobId,
        packet: Annotated[int, Path(ge=1, le=LARGEST, examples=[12])],
        capture: Annotated[str | None, Query(max_length=500, description="By default the first.")] = None,
        task: Annotated[str | None, Query(max_length=100, examples=["application"])] = None,
        label: Annotated[
            str | None, Query(max_length=100, description="By default the packet's verdict.")
        ] = None,
    ) -> Reason:
        """Which header fields and bytes made a packet's verdict, by integrated gradients."""
        return Reason(**await jobs.explain(jobs.find(job_id), packet, capture, task, label))
