"""``mtc serve``: an HTTP API and a web page."""

import os
from pathlib import Path
from typing import Annotated

import typer

from mtc.errors import UsageError

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
Pseudonymize = Annotated[
    Path | None,
    typer.Option(
        "--pseudonymize", metavar="KEYFILE", help="Replace the addresses of every job by pseudonyms."
    ),
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

SIZES = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _size(text: str) -> int:
    """Bytes in a text such as 500M."""
    lowered = text.strip().lower().removesuffix("b").removesuffix("i")
    number, unit = (lowered[:-1], lowered[-1]) if lowered[-1:] in ("k", "m", "g", "t") else (lowered, "")
    try:
        return int(float(number) * SIZES[unit])
    except (ValueError, OverflowError):
        raise UsageError(f"no size: {text!r}; 500M and 2G are sizes") from None


def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    token_file: TokenFile = None,
    hosts: AllowedHosts = None,
    models: MoreModels = None,
    default_model: DefaultModel = "iscx",
    pseudonymize: Pseudonymize = None,
    upload_size: UploadSize = "1G",
    kept_size: KeptSize = "8G",
    unpacked_size: UnpackedSize = "8G",
    memory: Memory = "4G",
    jobs: JobCount = 2,
    job_minutes: JobMinutes = 10,
    keep_minutes: KeepMinutes = 60,
    page: Page = True,
    tls_cert: TlsCert = None,
    tls_key: TlsKey = None,
) -> None:
    """Serve verdicts over HTTP, with a web page: drop a capture, see its flows and the reasons.

    [dim]mtc serve[/dim]
    [dim]mtc serve --host 0.0.0.0 --token-file token --tls-cert cert.pem --tls-key key.pem[/dim]

    Captures are read in processes of their own, within limits, and deleted afterwards.
    """
    from mtc.serving.http.app import run
    from mtc.serving.http.auth import new_token
    from mtc.serving.http.settings import Limits, ServeSettings, is_loopback

    token = _token(token_file)
    if token is None and not is_loopback(host):
        token = new_token()
        typer.echo(f"mtc: the token of this server is {token}", err=True)
    run(
        ServeSettings(
            host=host,
            port=port,
            token=token,
            hosts=tuple(hosts or ()),
            models=tuple(_named(text) for text in models or ()),
            default_model=default_model,
            pseudonymise=pseudonymize is not None,
            pseudonym_key=_key(pseudonymize),
            page=page,
            tls=_tls(tls_cert, tls_key),
            limits=Limits(
                upload_bytes=_size(upload_size),
                kept_bytes=_size(kept_size),
                unpacked_bytes=_size(unpacked_size),
                memory_bytes=_size(memory),
                running=jobs,
                job_s=60 * job_minutes,
                keep_s=60 * keep_minutes,
            ),
        ),
        lambda line: typer.echo(f"mtc: {line}", err=True),
    )


def _token(path: Path | None) -> str | None:
    if path is None:
        # Taken out, so that the processes which read captures do not inherit it.
        return os.environ.pop(TOKEN_VARIABLE, "").strip() or None
    try:
        token = path.read_text(encoding="ascii").strip()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: no token can be read ({error})") from None
    if not token:
        raise UsageError(f"{path}: holds no token")
    return token


def _key(path: Path | None) -> bytes | None:
    if path is None:
        return None
    from mtc.serving.pseudonyms import read_key

    return read_key(path)


def _named(text: str) -> tuple[str, Path]:
    name, separator, folder = text.partition("=")
    if not separator or not name or not folder:
        raise UsageError(f"--model takes NAME=RUN, not {text!r}")
    return name, Path(folder)


def _tls(cert: Path | None, key: Path | None) -> tuple[Path, Path] | None:
    if (cert is None) != (key is None):
        raise UsageError("--tls-cert and --tls-key belong together")
    return None if cert is None or key is None else (cert, key)
