"""``mtc classify``: verdicts for captures."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from mtc.cli.classify import options
from mtc.cli.classify.options import DEFAULT_MODEL, DEFAULT_TABLE_MODEL, By, Order, Per
from mtc.cli.classify.summary import Summary
from mtc.cli.shared import captures, rows
from mtc.cli.shared.captures import On, OnOption, WorkersOption, captures_among, reading_bar
from mtc.cli.shared.rows import Format, Sort, choose_format, open_writer, warn
from mtc.errors import ModelError, MtcError, UsageError

if TYPE_CHECKING:
    from mtc.capture import Source
    from mtc.inference import Classifier, VerdictSettings
    from mtc.inference.captures import Progress
    from mtc.inference.groups import HostGroups, VerdictGroups
    from mtc.parallel import Workers
    from mtc.rows import RowSchema, Writer


def classify_tables(
    classifier: "Classifier",
    inputs: list[str],
    chosen: Format,
    out: Path | None,
    *,
    force: bool,
    reject: bool,
    order: Order,
) -> None:
    """Give every row its verdict, in the order of the rows.

    Args:
        classifier: A model that reads flow features.
        inputs: Files, folders, zip archives, or ``-``.
        chosen: How verdicts are written.
        out: The file to write, or None for standard output.
        force: Whether a file that is there is replaced.
        reject: Whether labels below the model's threshold are ``unknown``.
        order: Order and number of the rows.

    Raises:
        DatasetError: Nothing could be read.
        Exit: With 3, an input was missing or damaged, or a line did not fit the header.
    """
    from mtc.cli.shared import flow_table
    from mtc.cli.shared.tables import RowTable
    from mtc.datasets.flow_features.sources import find_tables
    from mtc.inference.feature_rows import row_schema

    sources = list(find_tables(inputs))
    problems: list[str] = []
    notes: list[str] = []
    counts = Summary(classifier.tasks, model=classifier.name)
    tasks = classifier.tasks
    try:
        with (
            open_writer(
                chosen,
                out,
                force=force,
                schema=row_schema(tasks),
                table=lambda: RowTable(flow_table.table_row_columns(tasks), legend=flow_table.legend),
                sort=order.sort,
                table_sort=None,
                limit=order.limit,
            ) as writer,
            reading_bar("classifying", sum(source.size() for source in sources)) as progress,
        ):
            for piece in classifier.classify_tables(
                sources, problems, reject=reject, progress=progress, notes=notes
            ):
                for row in piece:
                    writer.write(counts.count(row))
    except MtcError:
        warn(problems)
        raise
    warn(notes + problems)
    typer.echo(counts.text("row"), err=True)
    if problems:
        raise typer.Exit(3)


def classify(
    inputs: options.Inputs,
    model: options.Model = None,
    per: options.PerOption = Per.flow,
    by: options.ByOption = None,
    output_format: rows.FormatOption = None,
    as_json: rows.Json = False,
    out: rows.Out = None,
    force: rows.Force = False,
    sort: rows.SortOption = None,
    limit: rows.Limit = None,
    reject: options.Reject = True,
    names: captures.Names = True,
    services: captures.Services = None,
    ndpi: options.Ndpi = False,
    packets: options.Packets = None,
    early: options.Early = None,
    bpf: captures.Filter = "",
    start: captures.From = None,
    end: captures.To = None,
    drop_duplicates: captures.DropDuplicates = False,
    reuse: options.Reuse = True,
    decapsulate: captures.Decapsulate = True,
    workers: WorkersOption = None,
    on: OnOption = On.local,
) -> None:
    """Say of every flow what it is: application and type, by its names, its protocol or a model.

    [dim]mtc classify capture.pcap[/dim]
    [dim]mtc classify captures/ --format json --out verdicts.jsonl[/dim]
    [dim]mtc classify capture.pcap --filter "tcp port 443" --by host[/dim]

    Every row of a table of flow features gets the labels of a model that reads those.

    [dim]mtc classify flows.csv[/dim]
    [dim]mtc classify capture.pcap --model cicids2017[/dim]
    """
    chosen = choose_format(output_format, as_json, out)
    if chosen is Format.zeek:
        raise UsageError("--format zeek is for mtc flows")
    if per is Per.packet and (by is not None or packets is not None or early is not None or ndpi):
        raise UsageError("--by, --packets, --early and --ndpi are about flows, not --per packet")

    from mtc.inference import Classifier, VerdictSettings
    from mtc.packets import Selection
    from mtc.parallel import Workers

    settings = VerdictSettings(
        packets,
        early,
        reuse,
        decapsulate,
        Selection.of(bpf, start, end, drop_duplicates),
        reject,
        names,
        services,
        ndpi,
    )
    where = Workers(workers, on.value)
    classifier = Classifier.load(_default_model(inputs) if model is None else model)
    order = options.Order(sort, limit)
    if classifier.reads_features and _are_tables(inputs):
        defaults = VerdictSettings(decapsulate=decapsulate, reject=reject)
        if by is not None or where != Workers() or settings != defaults:
            raise UsageError("these options are for captures, not for tables of flow features")
        classify_tables(classifier, inputs, chosen, out, force=force, reject=reject, order=order)
        return
    _Run(classifier, settings, where, per, by).write(inputs, chosen, out, order, force=force)


class _Run:
    """One run over captures."""

    def __init__(
        self,
        classifier: "Classifier",
        settings: "VerdictSettings",
        workers: "Workers",
        per: Per,
        by: By | None,
    ) -> None:
        self._classifier = classifier
        self._settings, self._workers, self._per = settings, workers, per
        self._groups = None if by is None else _groups(by, classifier)
        self._problems: list[str] = []
        self._summary = Summary(classifier.tasks, model=classifier.name)
        if settings.reject:
            self._summary.never_unknown = classifier.tasks_without_threshold(per.value)

    def write(
        self, inputs: list[str], chosen: Format, out: Path | None, order: options.Order, *, force: bool
    ) -> None:
        """Read all captures and write the rows; summarize them at the end."""
        sources = captures_among(inputs)
        try:
            with (
                open_writer(
                    chosen,
                    out,
                    force=force,
                    schema=self._schema(),
                    table=self._table,
                    sort=order.sort,
                    table_sort=None if self._per is Per.packet else Sort.bytes,
                    limit=order.limit,
                ) as writer,
                reading_bar("classifying", sum(source.size() for source in sources)) as progress,
            ):
                for row in self._rows(sources, progress):
                    writer.write(row)
        except MtcError:
            warn(self._problems)
            raise
        warn(self._problems)
        typer.echo(self._summary.text(self._per.value), err=True)
        if self._problems:
            raise typer.Exit(3)

    def _schema(self) -> "RowSchema":
        from mtc import columns
        from mtc.inference.verdicts import flow_schema
        from mtc.rows import RowSchema

        if self._groups is not None:
            return self._groups.schema
        if self._per is Per.packet:
            return RowSchema.of(columns.PACKET, self._classifier.tasks)
        return flow_schema(self._classifier.tasks)

    def _table(self) -> "Writer":
        from mtc.cli.shared import flow_table
        from mtc.cli.shared.tables import RowTable

        tasks = self._classifier.tasks
        if self._groups is not None:
            return RowTable(flow_table.group_columns(self._groups.schema, tasks))
        if self._per is Per.packet:
            return RowTable(flow_table.packet_columns(tasks), legend=flow_table.legend)
        return RowTable(flow_table.verdict_columns(tasks))

    def _rows(self, sources: list["Source"], progress: "Progress") -> Iterator[dict[str, Any]]:
        options: dict[str, Any] = {
            "settings": self._settings,
            "workers": self._workers,
            "progress": progress,
            "on_end": self._summary.add_end,
        }
        if self._per is Per.packet:
            for piece in self._classifier.classify_packets(sources, self._problems, **options):
                yield from map(self._summary.count, piece)
            return
        for capture in self._classifier.classify_sources(sources, self._problems, **options):
            counted = map(self._summary.count, capture)
            if self._groups is None:
                yield from counted
            else:
                self._groups.add(capture, counted)
        if self._groups is not None:
            yield from self._groups


def _groups(by: By, classifier: "Classifier") -> "HostGroups | VerdictGroups":
    from mtc.inference.groups import HostGroups, VerdictGroups

    return HostGroups(classifier.tasks) if by is By.host else VerdictGroups(by.value)


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
