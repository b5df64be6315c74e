"""``mtc classify``: verdicts for captures."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtc.cli.classify_output import Format, Rows, Summary, choose_format, open_writer, reading_bar, warn
from mtc.errors import ModelError, MtcError, UsageError

if TYPE_CHECKING:
    from mtc.capture import Source
    from mtc.inference import Classifier, Place, VerdictSettings
    from mtc.inference.captures import Progress

DEFAULT_MODEL = "iscx"
DEFAULT_TABLE_MODEL = "cicids2017"
SHOWN_SKIPPED = 5


class Per(StrEnum):
    """What gets a verdict."""

    flow = "flow"
    packet = "packet"


class By(StrEnum):
    """What verdicts on flows are summed up for."""

    host = "host"


class On(StrEnum):
    """Where captures are judged."""

    local = "local"
    ray = "ray"


def classify(
    inputs: Annotated[
        list[str],
        typer.Argument(
            metavar="INPUT...",
            help="Captures or CICFlowMeter tables, folders, zip archives; - is standard input.",
        ),
    ],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            help="A bundled model (see mtc models) or a run folder "
            f"[dim]\\[default: {DEFAULT_MODEL}; for tables {DEFAULT_TABLE_MODEL}][/dim]",
        ),
    ] = None,
    per: Annotated[Per, typer.Option("--per", help="What gets a verdict.")] = Per.flow,
    by: Annotated[
        By | None, typer.Option("--by", help="Sum up who talks what: a row a host, not a row a flow.")
    ] = None,
    output_format: Annotated[
        Format | None,
        typer.Option("--format", help="[dim]\\[default: by the suffix of --out, else a table][/dim]"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write to a file.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the file of --out.")] = False,
    reject: Annotated[
        bool, typer.Option("--reject", help="Say unknown below the model's threshold.")
    ] = False,
    packets: Annotated[
        int | None,
        typer.Option(
            "--packets",
            metavar="K",
            help="First packets of a flow, of those that carry information, that its verdict is made of "
            "[dim]\\[default: the model's, see mtc models][/dim]",
        ),
    ] = None,
    until: Annotated[
        float | None,
        typer.Option(
            "--until",
            metavar="CONFIDENCE",
            help="Judge no more packets of a flow once every task is as sure as that.",
        ),
    ] = None,
    bpf: Annotated[
        str, typer.Option("--filter", metavar="BPF", help="Only packets that pass, as in tcpdump.")
    ] = "",
    start: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="TIME", help="Only packets from then on: Unix seconds or ISO, in UTC."
        ),
    ] = None,
    end: Annotated[str | None, typer.Option("--to", metavar="TIME", help="Only packets before then.")] = None,
    reuse: Annotated[
        bool, typer.Option("--reuse/--no-reuse", help="Compute samples that are the same only once.")
    ] = True,
    decapsulate: Annotated[
        bool, typer.Option("--decapsulate/--no-decapsulate", help="Peel tunnels to the innermost IP packet.")
    ] = True,
    workers: Annotated[
        int | None,
        typer.Option(
            "--workers",
            metavar="N",
            help="Captures judged at a time [dim]\\[default: 1; on Ray, all cores][/dim]",
        ),
    ] = None,
    on: Annotated[On, typer.Option("--on", help="Where captures are judged.")] = On.local,
) -> None:
    """Give every flow, or every packet that counts, its application and traffic type.

    [dim]mtc classify capture.pcap[/dim]
    [dim]mtc classify captures/ --format json --out verdicts.jsonl[/dim]
    [dim]mtc classify capture.pcap --filter "tcp port 443" --by host[/dim]

    Every row of a table of flow features gets a verdict, of a model that reads those.

    [dim]mtc classify flows.csv[/dim]
    """
    chosen = choose_format(Format.json if as_json and output_format is None else output_format, out)
    if per is Per.packet and (by is not None or packets is not None or until is not None):
        raise UsageError("--by, --packets and --until are about flows, not --per packet")

    from mtc.inference import Classifier, Place, VerdictSettings
    from mtc.packets import Selection

    settings = VerdictSettings(packets, until, reuse, decapsulate, Selection.of(bpf, start, end))
    place = Place(on.value, workers)
    classifier = Classifier.load(_default_model(inputs) if model is None else model)
    if classifier.reads_features:
        from mtc.cli.classify_tables import classify_tables

        if by is not None or place != Place() or settings != VerdictSettings(decapsulate=decapsulate):
            raise UsageError("a model of flow features judges rows of tables: these options are for captures")
        classify_tables(classifier, inputs, chosen, out, force=force, reject=reject)
        return
    what = Rows.host if by is By.host else Rows(per.value)
    _Run(classifier, settings, place, per, what, reject).write(inputs, chosen, out, force=force)


class _Run:
    """One run over captures."""

    def __init__(
        self,
        classifier: "Classifier",
        settings: "VerdictSettings",
        place: "Place",
        per: Per,
        what: Rows,
        reject: bool,
    ) -> None:
        self._classifier = classifier
        self._settings, self._place, self._per, self._what = settings, place, per, what
        self._thresholds = classifier.thresholds(per.value) if reject else {}
        self._problems: list[str] = []
        self._summary = Summary(classifier.tasks)

    def write(self, inputs: list[str], chosen: Format, out: Path | None, *, force: bool) -> None:
        """Read all captures and write the rows; tell at the end what they were."""
        sources = _sources(inputs)
        tasks = self._classifier.tasks
        try:
            with (
                open_writer(chosen, out, force, tasks, self._what) as writer,
                reading_bar(sum(source.size() for source in sources)) as progress,
            ):
                rows = self._hosts if self._what is Rows.host else self._rows
                for row in rows(sources, progress):
                    writer.write(row)
        except MtcError:
            warn(self._problems)
            raise
        warn(self._problems)
        typer.echo(self._summary.text(Rows(self._per.value)), err=True)
        if self._problems:
            raise typer.Exit(3)

    def _rows(self, sources: list["Source"], progress: "Progress") -> Iterator[dict[str, Any]]:
        packets = self._per is Per.packet
        judge = self._classifier.classify_packets if packets else self._classifier.classify_sources
        for piece in judge(
            sources,
            self._problems,
            settings=self._settings,
            place=self._place,
            progress=progress,
            on_end=self._summary.add_end,
        ):
            yield from self._finished(piece)

    def _hosts(self, sources: list["Source"], progress: "Progress") -> Iterator[dict[str, Any]]:
        from mtc.inference import HostSummary

        hosts = HostSummary(self._classifier.tasks)
        for capture in self._classifier.classify_sources(
            sources,
            self._problems,
            settings=self._settings,
            place=self._place,
            progress=progress,
            on_end=self._summary.add_end,
        ):
            hosts.add(capture, self._finished(capture))
        yield from hosts

    def _finished(self, rows: Any) -> Iterator[dict[str, Any]]:
        """Rows as they are to be written, each counted."""
        from mtc.inference.judging import reject_unsure

        for row in rows:
            reject_unsure(row, self._thresholds)
            self._summary.add(row)
            yield row


def _sources(inputs: list[str]) -> "list[Source]":
    """The captures among the inputs; what else is there is told."""
    from mtc.capture import expand_inputs

    skipped: list[str] = []
    sources = list(expand_inputs(inputs, on_skip=lambda name, why: skipped.append(f"{name}: {why}")))
    _tell_skipped(skipped)
    return sources


def _tell_skipped(skipped: list[str]) -> None:
    for line in skipped[:SHOWN_SKIPPED]:
        typer.echo(f"mtc: skipped {line}", err=True)
    if len(skipped) > SHOWN_SKIPPED:
        typer.echo(f"mtc: skipped {len(skipped) - SHOWN_SKIPPED} more files", err=True)


def _default_model(inputs: list[str]) -> str:
    """The bundled model that fits what the inputs are named like.

    Raises:
        ModelError: They are tables, and no model for those is bundled.
    """
    if not all(_may_hold_tables(name) for name in inputs):
        return DEFAULT_MODEL

    from mtc.datasets.features_sources import hold_tables
    from mtc.inference import bundled_models

    if not hold_tables(inputs):
        return DEFAULT_MODEL
    if DEFAULT_TABLE_MODEL not in bundled_models():
        raise ModelError(
            f"{inputs[0]}: a table of flow features needs a model that reads those, and none is bundled: "
            "give one with --model (mtc train cicids2017-mtc makes one)"
        )
    return DEFAULT_TABLE_MODEL


def _may_hold_tables(name: str) -> bool:
    """Whether an input is worth a closer look, which captures are not to pay for."""
    return Path(name).is_dir() or any(suffix in name.lower() for suffix in (".csv", ".parquet", ".zip"))
