"""The shapes of answers, for the description of the API, with examples."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from mtc.serving.http.jobs import Job, State

EXAMPLE_ID = "c2FtcGxlLWpvYi1pZC0wMQ"


SERVER_SENT = {
    "text/event-stream": {
        "schema": {
            "type": "object",
            "properties": {"data": {"type": "string", "contentMediaType": "application/json"}},
        }
    }
}
"""Content of answers that are server-sent events."""


class Problem(BaseModel):
    """Why a request was refused, in one sentence."""

    model_config = ConfigDict(json_schema_extra={"example": {"detail": "no such job: it may have expired"}})

    detail: str


class JobCapture(BaseModel):
    """A capture of an upload."""

    name: str = Field(description="The client's name for it, made fit for showing.")
    size: int = Field(description="Bytes.")


class JobView(BaseModel):
    """A job."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "id": EXAMPLE_ID,
                "state": "done",
                "model": "iscx",
                "per": "flow",
                "reject": False,
                "pseudonymise": False,
                "created": 1795414636.7,
                "captures": [{"name": "capture.pcap", "size": 47728}],
                "progress": 1.0,
                "rows": 12,
                "problems": [],
                "error": None,
                "seconds": 0.8,
                "expires": 1795418237.5,
            }
        }
    )

    id: str
    state: Literal["receiving", "waiting", "running", "done", "failed"]
    model: str
    per: Literal["flow", "packet"] = Field(description="What gets a verdict.")
    reject: bool
    pseudonymise: bool
    created: float = Field(description="Unix seconds.")
    captures: list[JobCapture]
    progress: float = Field(description="Share of the captures' bytes that has been read, 0 to 1.")
    rows: int | None = Field(description="Verdicts; null until the job is done.")
    problems: list[str] = Field(description="What could not be read, a line each.")
    error: str | None = Field(description="Why the job failed.")
    seconds: float | None = Field(description="Wall time that the job took.")
    expires: float | None = Field(description="Unix seconds at which it is deleted, captures included.")

    @classmethod
    def of(cls, job: Job) -> "JobView":
        """What a client sees of a job."""
        summary = job.summary or {}
        share = 1.0 if job.state is State.done else min(1.0, job.read / job.size) if job.size else 0.0
        return cls(
            id=job.id,
            state=job.state.value,
            model=job.model,
            per="packet" if job.per == "packet" else "flow",
            reject=job.reject,
            pseudonymise=job.pseudonymise,
            created=job.created,
            captures=[JobCapture(name=upload.name, size=upload.size) for upload in job.uploads],
            progress=round(share, 4),
            rows=summary.get("rows"),
            problems=summary.get("problems", []),
            error=job.error,
            seconds=job.seconds,
            expires=job.expires,
        )


class Verdict(BaseModel):
    """A label and how sure it is."""

    label: str
    confidence: float


class PacketView(BaseModel):
    """A packet of a flow; its tasks stand beside these fields, null where it is no sample."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "packet": 12,
                "time": 1795414636.7,
                "forward": True,
                "bytes": 1514,
                "left_out": None,
                "application": {"label": "SFTP", "confidence": 0.998},
            }
        },
    )

    packet: int = Field(description="Its number in the capture, from 1.")
    time: float = Field(description="Unix seconds.")
    forward: bool = Field(description="Whether the sender of the flow's first packet sent it.")
    bytes: int = Field(description="Bytes on the wire.")
    left_out: str | None = Field(description="Why it is no sample, or null.")


class Packets(BaseModel):
    """Packets of a flow."""

    capture: str
    packets: list[PacketView]
    more: bool = Field(description="Whether the flow has further packets.")


class Reason(BaseModel):
    """Why a packet got its verdict: parts of the logit of its class."""

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={
            "example": {
                "capture": "capture.pcap",
                "packet": 12,
                "task": "application",
                "label": "SFTP",
                "confidence": 0.998,
                "logit": 9.1,
                "baseline": 0.3,
                "error": 0.01,
                "fields": {"ip_ttl": 0.4, "payload 0-15": 1.9},
                "numbers": {},
                "bytes": [0.0, 0.1],
                "data": [69, 0],
                "names": ["ip_version_ihl", "ip_tos"],
            }
        },
    )

    capture: str
    packet: int
    task: str
    label: str
    confidence: float
    logit: float
    baseline: float = Field(description="The logit of a packet of nothing.")
    fields: dict[str, float]
    numbers: dict[str, float]
    bytes: list[float] = Field(description="What each byte did.")
    data: list[int | None] = Field(description="The bytes, mask applied; null where they are held back.")
    names: list[str] = Field(description="What each byte belongs to.")


class ModelView(BaseModel):
    """A model, in short."""

    name: str
    kind: str
    reads: Literal["captures", "features"]
    tasks: dict[str, list[str]]
    absent: dict[str, list[str]] = Field(description="Classes without training samples: never predicted.")
    dataset: dict[str, Any]
    scores: dict[str, dict[str, float | None]] = Field(description="On the model's own test part.")
    notes: list[str]
    mtc_version: str | None


class CardView(ModelView):
    """A model with its card."""

    text: str | None = Field(description="Markdown.")
    card: dict[str, Any] = Field(description="All that is stored with the model.")


class Delivered(BaseModel):
    """What became of events."""

    accepted: int
    refused: int = Field(description="Lines that are no events.")
    problem: str | None = Field(description="What is wrong with the first that was refused.")


class Health(BaseModel):
    """Whether the server works."""

    status: Literal["ok"]
    version: str
    jobs_running: int
    jobs_waiting: int
