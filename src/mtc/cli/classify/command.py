"""``mtc classify``: verdicts for captures."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mtc.cli.classify import options
from mtc.cli.classify.options import DEFAULT_MODEL, DEFAULT_TABLE_MODEL, By, Per
from mtc.cli.classify.output import Format, Rows, Summary, choose_format, open_writer, warn
from mtc.cli.shared.captures import On, OnOption, WorkersOption, captures_among, reading_bar
from mtc.errors import ModelError, MtcError, UsageError

if TYPE_CHECKING:
    from mtc.capture import Source
    from mtc.inference import Classifier, VerdictSettings
    from mtc.inference.captures import Progress
    from mtc.parallel import Workers


def classify(
    inputs: options.Inputs,
    model: options.Model = None,
    per: options.PerOption = Per.flow,
    by: options.ByOption = None,
    output_format: options.FormatOption = None,
    as_json: options.Json = False,
    out: options.Out = None,
    force: options.Force = False,
    reject: options.Reject = False,
    packets: options.Packets = None,
    until: options.Until = None,
    bpf: options.Filter = "",
    start: options.From = None,
    end: options.To = None,
    drop_duplicates: options.DropDuplicates = False,
    reuse: options.Reuse = True,
    decapsulate: options.Decapsulate = True,
    workers: WorkersOption = None,
    on: OnOption = On.local,
) -> None:
    """Give every flow, or every packet that counts, its application and traffic type.

    [dim]mtc classify capture.pcap[/dim]
    [dim]mtc classify captures/ --format json --out verdicts.jsonl[/dim]
    [dim]mtc classify capture.pcap --filter "tcp port 443" --by host[/dim]

    Every row of a table of flow features gets a verdict, of a model that reads those.

    [dim]mtc classify flows.csv[/dim]
    [dim]mtc classify capture.pcap --model cicids2017[/dim]
    """
    chosen = choose_format(Format.json if as_json and output_format is None else output_format, out)
    if per is Per.packet and (by is not None or packets is not None or until is not None):
        raise UsageError("--by, --packets and --until are about flows, not --per packet")

    from mtc.inference import Classifier, VerdictSettings
    from mtc.packets import Selection
    from mtc.parallel import Workers

    settings = VerdictSettings(
        packets, until, reuse, decapsulate, Selection.of(bpf, start, end, drop_duplicates)
    )
    where = Workers(workers, on.value)
    classifier = Classifier.load(_default_model(inputs) if model is None else model)
    if classifier.reads_features and _are_tables(inputs):
        from mtc.cli.classify.feature_tables import classify_tables

        if by is not None or where != Workers() or settings != VerdictSettings(decapsulate=decapsulate):
            raise UsageError("these options are for captures, not for tables of flow features")
        classify_tables(classifier, inputs, chosen, out, force=force, reject=reject)
        return
    what = Rows.host if by is By.host else Rows(per.value)
    _Run(classifier, settings, where, per, what, reject).write(inputs, chosen, out, force=force)


class _Run:
    """One run over captures."""

    def __init__(
        self,
        classifier: "Classifier",
        settings: "VerdictSettings",
        workers: "Workers",
        per: Per,
        what: Rows,
        reject: bool,
    ) -> None:
        self._classifier = classifier
        self._settings, self._workers, self._per, self._what = settings, workers, per, what
        self._thresholds = classifier.thresholds(per.value) if reject else {}
        self._problems: list[str] = []
        self._summary = Summary(classifier.tasks)

    def write(self, inputs: list[str], chosen: Format, out: Path | None, *, force: bool) -> None:
        """Read all captures and write the rows; summarize them at the end."""
        sources = captures_among(inputs)
        tasks = self._classifier.tasks
        try:
            with (
                open_writer(chosen, out, force, tasks, self._what) as writer,
                reading_bar("classifying", sum(source.size() for source in sources)) as progress,
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
        classify = self._classifier.classify_packets if packets else self._classifier.classify_sources
        for piece in classify(
            sources,
            self._problems,
            settings=self._settings,
            workers=self._workers,
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
            workers=self._workers,
            progress=progress,
            on_end=self._summary.add_end,
        ):
            hosts.add(capture, self._finished(capture))
        yield from hosts

    def _finished(self, rows: Any) -> Iterator[dict[str, Any]]:
        """Rows as they are to be written, each counted."""
        from mtc.inference.verdict_builder import reject_unsure

        for row in rows:
            reject_unsure(row, self._thresholds)
            self._summary.add(row)
            yield row


def _default_model(inputs: list[str]) -> str:
    """The bundled model that fits what the inputs are named like.

    Raises:
        ModelError: They are tables, and no model for those is bundled.
    """
    if not all(_may_hold_tables(name) for name in inputs):
        return DEFAULT_MODEL

    from mtc.datasets.flow_features.sources import hold_tables
    from mtc.inference import bundled_models

    if not hold_tables(inputs):
        return DEFAULT_MODEL
    if DEFAULT_TABLE_MODEL not in bundled_models():
        raise ModelError(
            f"{inputs[0]}: a table of flow features needs a model that reads those, and none is bundled: "
            "give one with --model (mtc train cicids2017-mtc makes one)"
        )
    return DEFAULT_TABLE_MODEL


def _are_tables(inputs: list[str]) -> bool:
    """Whether a model of flow features is to read tables, and not captures."""
    from mtc.datasets.flow_features.sources import hold_tables

    return hold_tables(inputs)


def _may_hold_tables(name: str) -> bool:
    """Whether an input is worth a closer look, which captures are not to pay for."""
    return Path(name).is_dir() or any(suffix in name.lower() for suffix in (".csv", ".parquet", ".zip"))
