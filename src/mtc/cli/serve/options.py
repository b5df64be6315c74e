"""Options of ``mtc serve``."""

from pathlib import Path
from typing import Annotated

import typer

TOKEN_VARIABLE = "MTC_SERVE_TOKEN"

Host = Annotated[str, typer.Option("--host", help="Address to bind; any but loopback needs a token.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="0 takes a free one.")]
TokenFile = Annotated[
    Path | None,
    typer.Option("--token-file", help=f"File with the token; or the variable {TOKEN_VARIABLE}."),
]
AllowedHosts = Annotated[
    list[str] | None, typer.Option("--allow-host", help="A further name that browsers may use.")
]
MoreModels = Annotated[
    list[str] | None, typer.Option("--model", help="A further model: NAME=RUN.", metavar="NAME=RUN")
]
DefaultModel = Annotated[str, typer.Option("--default-model", help="Used where a job names none.")]
Pseudonymise = Annotated[bool, typer.Option("--pseudonymise", help="Give every job's addresses pseudonyms.")]
PseudonymKey = Annotated[
    Path | None,
    typer.Option("--pseudonym-key", help="File with the key [dim]\\[default: a new one each time][/dim]."),
]
UploadSize = Annotated[str, typer.Option("--upload-size", metavar="SIZE", help="Largest upload.")]
KeptSize = Annotated[str, typer.Option("--kept-size", metavar="SIZE", help="All uploads and results.")]
UnpackedSize = Annotated[str, typer.Option("--unpacked-size", metavar="SIZE", help="What a job may unpack.")]
Memory = Annotated[str, typer.Option("--memory", metavar="SIZE", help="Memory of a job.")]
JobCount = Annotated[int, typer.Option("--jobs", min=1, help="Jobs at the same time.")]
JobMinutes = Annotated[float, typer.Option("--job-minutes", help="Longest job.")]
KeepMinutes = Annotated[float, typer.Option("--keep-minutes", help="How long captures and results are kept.")]
Page = Annotated[bool, typer.Option("--page/--no-page", help="Whether to serve the web page.")]
TlsCert = Annotated[Path | None, typer.Option("--tls-cert", help="Certificate, PEM.")]
TlsKey = Annotated[Path | None, typer.Option("--tls-key", help="Its key, PEM.")]
