"""The options of ``mtc watch``."""

from pathlib import Path
from typing import Annotated

import typer

from mtc.cli.shared import captures as capture_inputs

Input = Annotated[
    str,
    typer.Argument(metavar="INTERFACE", help="An interface, - for a capture on standard input, or a file"),
]
Model = Annotated[str, typer.Option("--model", help="A bundled model, or a run folder.")]
Json = Annotated[bool, typer.Option("--json", help="JSON lines on standard output also on a terminal.")]
Sinks = Annotated[
    list[str] | None,
    typer.Option(
        "--sink",
        metavar="URL",
        help="Where events go, several times: stdout, file:PATH, parquet:DIR, kafka://BROKER/TOPIC, "
        "https://..., syslog://HOST [dim]\\[default: stdout; on a terminal a table][/dim]",
    ),
]
SinkToken = Annotated[
    str | None,
    typer.Option(
        "--sink-token", envvar="MTC_SINK_TOKEN", show_envvar=True, help="Bearer token of HTTP sinks."
    ),
]
RotateMb = Annotated[float, typer.Option("--rotate-mb", help="Size of a file at which the next begins.")]
RotateHours = Annotated[float, typer.Option("--rotate-hours", help="Age of a file at which the next begins.")]
KeepFiles = Annotated[int, typer.Option("--keep-files", min=0, help="Full files that are kept.")]
Spool = Annotated[
    Path | None,
    typer.Option(
        "--spool",
        help="Folder of the buffers for sinks that are down [dim]\\[default: ~/.local/state/mtc/spool][/dim]",
    ),
]
SpoolMb = Annotated[float, typer.Option("--spool-mb", help="Size of each such buffer; 0: none.")]
Bpf = Annotated[str, typer.Option("--filter", metavar="BPF", help="As in tcpdump; of an interface only.")]
Snaplen = Annotated[int, typer.Option("--snaplen", min=64, max=262_144, help="Bytes captured of a packet.")]
RingMb = Annotated[float, typer.Option("--ring-mb", help="Ring buffer of the kernel.")]
QueueMb = Annotated[float, typer.Option("--queue-mb", help="Packets that wait for the model.")]
Promiscuous = Annotated[
    bool, typer.Option("--promiscuous/--no-promiscuous", help="See packets for other machines too.")
]
User = Annotated[
    str | None,
    typer.Option(
        "--user", help="Who to become once the interface is open [dim]\\[default: who called sudo][/dim]"
    ),
]
Packets = Annotated[
    int | None,
    typer.Option(
        "--packets", min=1, help="Samples of a flow that make its verdict [dim]\\[default: the model's][/dim]"
    ),
]
Early = Annotated[
    float | None,
    typer.Option(
        "--early", min=0.01, max=1, help="Confidence in all tasks that makes the verdict with fewer samples."
    ),
]
VerdictTimeout = Annotated[
    float, typer.Option("--verdict-timeout", help="Seconds until a verdict on what samples there are.")
]
IdleTimeout = Annotated[float, typer.Option("--idle-timeout", help="Seconds of silence that end a flow.")]
ActiveTimeout = Annotated[float, typer.Option("--active-timeout", help="Seconds that a flow lasts at most.")]
MaxFlows = Annotated[int, typer.Option("--max-flows", min=8, help="Flows that are held at a time.")]
Decapsulate = capture_inputs.Decapsulate
Names = capture_inputs.Names
Probabilities = Annotated[
    bool, typer.Option("--probabilities", help="Report the probabilities of all classes.")
]
Pseudonymize = Annotated[
    Path | None,
    typer.Option("--pseudonymize", metavar="KEYFILE", help="Replace addresses by pseudonyms (Crypto-PAn)."),
]
Reopen = Annotated[
    bool, typer.Option("--reopen/--no-reopen", help="Go on when an interface that went down is up again.")
]
StatsInterval = Annotated[float, typer.Option("--stats-interval", help="Seconds between counts.")]
