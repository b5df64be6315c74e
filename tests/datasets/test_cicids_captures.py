"""Labelled features from the captures of CICIDS2017: the schedule, and a miniature of a week."""

from datetime import UTC, datetime
from pathlib import Path

import dpkt
import numpy as np
import pytest

from mtc.datasets import Dataset, build_cicids2017
from mtc.datasets.cicids2017.captures import BENIGN, label_flows, read_schedule
from mtc.datasets.cicids2017.labels import LABELS
from mtc.errors import DatasetError, UsageError
from mtc.flows.features import FeatureRows, iter_features

ATTACKER, WEB, CLIENT = "172.16.0.1", "192.168.10.50", "192.168.10.9"


def seconds(day: int, hour: int, minute: int) -> float:
    """A time of the schedule, which is Atlantic Daylight Time, as seconds since the epoch."""
    return datetime(2017, 7, day, hour + 3, minute, tzinfo=UTC).timestamp()


def write_flows(path: Path, flows: list[tuple[float, str, str, int]]) -> None:
    """A capture of UDP flows of three packets: time, source, destination, destination port."""
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=dpkt.pcap.DLT_RAW)
        for i, (time, src, dst, port) in enumerate(flows):
            for j in range(3):
                udp = dpkt.udp.UDP(sport=2000 + i, dport=port, data=bytes(10 + i % 50 + j))
                udp.ulen = len(udp)
                ends = (bytes(map(int, end.split("."))) for end in (src, dst))
                ip = dpkt.ip.IP(src=next(ends), dst=next(ends), p=17, data=udp)
                ip.len = len(ip)
                writer.writepkt(bytes(ip), ts=time + j / 10)


def flows_of(path: Path) -> FeatureRows:
    return FeatureRows.joined([rows for _, rows in iter_features(path)])


def test_the_schedule_names_every_attack_of_the_dataset() -> None:
    schedule = read_schedule()
    assert {attack.label for attack in schedule} == set(LABELS) - {BENIGN}
    assert all(attack.start_ns < attack.end_ns for attack in schedule)


def test_flows_are_labelled_by_time_and_addresses(tmp_path: Path) -> None:
    path = tmp_path / "day.pcap"
    write_flows(
        path,
        [
            (seconds(6, 10, 41), ATTACKER, WEB, 80),
            (seconds(6, 10, 42) + 59, WEB, ATTACKER, 80),  # the other way, in the last minute
            (seconds(6, 10, 43), ATTACKER, WEB, 80),  # too late
            (seconds(6, 10, 41), CLIENT, WEB, 80),  # somebody else
            (seconds(5, 15, 20), ATTACKER, "192.168.10.51", 444),
            (seconds(5, 15, 20), ATTACKER, "192.168.10.51", 445),  # not the port of Heartbleed
            (seconds(6, 15, 30), "192.168.10.8", "192.168.10.77", 22),  # a whole network of victims
        ],
    )
    rows = flows_of(path)
    labels = label_flows(rows.take(np.argsort(rows.number)), read_schedule())
    assert labels == [
        *("Web Attack - Sql Injection", "Web Attack - Sql Injection", BENIGN, BENIGN),
        *("Heartbleed", BENIGN, "Infiltration"),
    ]


@pytest.mark.parametrize("convention", ["cicids2017", "corrected"])
def test_a_dataset_is_built_from_captures(tmp_path: Path, convention: str) -> None:
    week = tmp_path / "week"
    week.mkdir()
    clients = [(seconds(3, 10, 0) + 7 * i, CLIENT, WEB, 443) for i in range(40)]
    write_flows(week / "Monday-WorkingHours.pcap", clients)
    scans = [(seconds(7, 14, 0) + i, ATTACKER, WEB, 1000 + i) for i in range(30)]
    write_flows(week / "Friday-WorkingHours.pcap", scans)
    info = build_cicids2017(week, tmp_path / "dataset", convention=convention, folds=0)
    assert info.features is not None
    assert info.features.convention == convention
    assert info.features.labels["PortScan"] == 30
    assert info.features.labels[BENIGN] == 40
    assert {capture.capture for capture in info.captures} == {
        "Monday-WorkingHours",
        "Friday-WorkingHours",
    }
    assert len(Dataset.open(tmp_path / "dataset")) == info.rows


def test_a_schedule_of_ones_own(tmp_path: Path) -> None:
    lines = (
        "label,start,end,attackers,victims,port\nBot,2017-07-03T10:00-03:00,2017-07-03T10:01-03:00,%s,%s,\n"
    )
    plan = tmp_path / "plan.csv"
    plan.write_text(lines % (CLIENT, WEB))
    write_flows(tmp_path / "Monday.pcap", [(seconds(3, 10, 0) + 5 * i, CLIENT, WEB, 443) for i in range(40)])
    info = build_cicids2017(tmp_path / "Monday.pcap", tmp_path / "dataset", schedule=plan, folds=0)
    assert info.features is not None
    assert info.features.labels["Bot"] == 24  # of the first two minutes


@pytest.mark.parametrize(
    "line",
    [
        "Nothing,2017-07-03T10:00-03:00,2017-07-03T10:01-03:00,1.1.1.1,2.2.2.2,",
        "Bot,2017-07-03T10:00,2017-07-03T10:01,1.1.1.1,2.2.2.2,",
        "Bot,2017-07-03T10:02-03:00,2017-07-03T10:01-03:00,1.1.1.1,2.2.2.2,",
        "Bot,2017-07-03T10:00-03:00,2017-07-03T10:01-03:00,host,2.2.2.2,",
        "Bot,2017-07-03T10:00-03:00",
    ],
)
def test_wrong_schedules_are_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "plan.csv"
    path.write_text(f"label,start,end,attackers,victims,port\n{line}\n")
    with pytest.raises(DatasetError, match="schedule"):
        read_schedule(path)


def test_tables_take_no_convention(tmp_path: Path, write_table: object, original_header: str) -> None:
    table = write_table(tmp_path / "Monday.csv", [b"BENIGN"] * 3)  # type: ignore[operator]
    with pytest.raises(UsageError, match="captures"):
        build_cicids2017(table, tmp_path / "out", convention="corrected")
