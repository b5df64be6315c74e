"""The captures of CICIDS2017 as labelled tables of flow features, by the schedule of its attacks."""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from ipaddress import IPv4Network
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mtc.capture import expand_inputs
from mtc.datasets.cicids2017.labels import LABELS
from mtc.errors import CaptureError, DatasetError
from mtc.flows.features import FeatureRows, convention_named, features_of
from mtc.flows.features.writing import FeatureParquetWriter

SCHEDULE = "schedule.csv"
"""The attacks as the page of the dataset lists them (https://www.unb.ca/cic/datasets/ids-2017.html): times
in Atlantic Daylight Time, addresses outside and behind the firewall, whose translation to 172.16.0.1 is part
of the list."""

BENIGN = "BENIGN"

MINUTE_NS = 60_000_000_000
"""The list names minutes; the last one counts as a whole."""


@dataclass(frozen=True, slots=True)
class Attack:
    """One line of a schedule.

    Attributes:
        label: Label of the flows between attackers and victims, whichever way they run.
        start_ns: Time of the first flow, ns since the epoch.
        end_ns: Time after the last.
        attackers: Networks of IPv4 addresses.
        victims: Likewise.
        port: Port that one side has, or None for any.
    """

    label: str
    start_ns: int
    end_ns: int
    attackers: tuple[IPv4Network, ...]
    victims: tuple[IPv4Network, ...]
    port: int | None

    def covers(self, rows: FeatureRows) -> NDArray[np.bool_]:
        """Which flows are part of the attack, bool (N,)."""
        src, dst = rows.src[:, 1], rows.dst[:, 1]
        found: NDArray[np.bool_] = (
            (rows.ip_version == 4) & (rows.start >= self.start_ns) & (rows.start < self.end_ns)
        )
        found &= (_within(src, self.attackers) & _within(dst, self.victims)) | (
            _within(dst, self.attackers) & _within(src, self.victims)
        )
        if self.port is not None:
            found &= (rows.src_port == self.port) | (rows.dst_port == self.port)
        return found


def _within(address: NDArray[np.uint64], networks: Iterable[IPv4Network]) -> NDArray[np.bool_]:
    found = np.zeros(len(address), np.bool_)
    for network in networks:
        found |= (address & np.uint64(int(network.netmask))) == np.uint64(int(network.network_address))
    return found


def read_schedule(path: Path | None = None) -> tuple[Attack, ...]:
    """A schedule of attacks.

    Args:
        path: A CSV file with the columns label, start, end (ISO 8601 with a zone), attackers, victims (IPv4
            addresses or networks, separated by blanks) and port; None for the dataset's own.

    Raises:
        DatasetError: It cannot be read, or a line of it makes no sense.
    """
    try:
        place = resources.files("mtc.datasets.cicids2017").joinpath(SCHEDULE) if path is None else path
        lines = list(csv.DictReader(place.read_text("utf-8").splitlines()))
        return tuple(map(_attack, lines))
    except (OSError, UnicodeDecodeError) as error:
        raise DatasetError(f"{path}: cannot be read ({error})") from None
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise DatasetError(f"{path}: not a schedule of attacks ({error})") from None


def _attack(line: dict[str, str]) -> Attack:
    if line["label"] not in LABELS:
        raise ValueError(f"unknown label {line['label']!r}")
    start, end = (datetime.fromisoformat(line[name]) for name in ("start", "end"))
    if start.tzinfo is None or end.tzinfo is None or end < start:
        raise ValueError(f"{line['label']}: times need a zone, and the end comes behind the start")
    return Attack(
        label=line["label"],
        start_ns=round(start.timestamp()) * 10**9,
        end_ns=round(end.timestamp()) * 10**9 + MINUTE_NS,
        attackers=tuple(map(IPv4Network, line["attackers"].split())),
        victims=tuple(map(IPv4Network, line["victims"].split())),
        port=int(line["port"]) if line["port"] else None,
    )


def label_flows(rows: FeatureRows, schedule: Iterable[Attack]) -> list[str]:
    """The label of each flow: that of the first attack that covers it, or BENIGN."""
    labels = np.full(len(rows), BENIGN, np.object_)
    for attack in schedule:
        labels[attack.covers(rows) & (labels == BENIGN)] = attack.label
    return list(labels)


def write_tables(
    captures: Iterable[Path], folder: Path, convention: str, schedule: Path | None = None
) -> Iterator[tuple[Path, str | None]]:
    """Write a labelled table of features for each capture.

    Args:
        captures: The original PCAPs, folders of them, or zip archives.
        folder: Where the tables go.
        convention: How features are computed.
        schedule: See ``read_schedule``.

    Yields:
        The table of each capture, and why it ends early, or None.

    Raises:
        DatasetError: A capture cannot be read at all, or the schedule is wrong.
        UsageError: There is no such convention.
    """
    attacks = read_schedule(schedule)
    found = convention_named(convention)
    for number, source in enumerate(expand_inputs(captures)):
        title = Path(source.name).name.split(".")[0] or f"capture-{number}"
        path = folder / f"{title}.parquet"
        if path.exists():
            path = folder / f"{title}-{number}.parquet"
        writer = FeatureParquetWriter(path, found)
        problems: list[str] = []
        try:
            for _, rows in features_of([source], found, problems):
                writer.write(rows, source.name, label_flows(rows, attacks))
        except CaptureError as error:
            raise DatasetError(str(error)) from None
        finally:
            writer.finish()
        yield path, problems[0] if problems else None
