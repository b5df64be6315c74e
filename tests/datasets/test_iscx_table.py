"""The table of the 150 originals, and manifests."""

import csv
from pathlib import Path

import pytest

from mtc.datasets.sources.iscx_labels import capture_name, iscx_table, read_manifest
from mtc.errors import DatasetError


def test_the_table_has_the_150_originals(shared_data: Path) -> None:
    rows = list(csv.DictReader((shared_data / "iscx-captures.csv").read_text().splitlines()))
    table = iscx_table()
    assert len(table.facts) == len(rows) == 150
    assert table.version == "1"
    for row in rows:
        fact = table.find(row["capture"] + ".pcap")
        assert fact is not None
        assert fact.capture == row["capture"]
        assert (fact.application, fact.service or "", fact.vpn) == (
            row["application"],
            row["service"],
            row["vpn"] == "1",
        )
        assert bool(fact.disputed) == bool(row["note"])


@pytest.mark.parametrize(
    "file",
    [
        "vpn_skype_audio1.pcap",
        "VPN-PCAPS-01.zip/deep/VPN_Skype_Audio1 .PCAP",
        " vpn skype audio1.pcapng.gz",
        "vpn_skype_ audio1.pcap.zst",
        "C:\\data\\vpn_skype_audio1",
    ],
)
def test_names_are_found_whatever_their_case_blanks_and_extension(file: str) -> None:
    fact = iscx_table().find(file)
    assert fact is not None
    assert fact.capture == "vpn_skype_audio1"
    assert fact.labels == {"application": "Skype", "traffic": "VPN VoIP", "auxiliary": "All VoIP"}


@pytest.mark.parametrize("file", ["email1a.csv", "email1a.txt", "email.pcap", "README.md", ""])
def test_other_files_are_not_found(file: str) -> None:
    assert iscx_table().find(file) is None


def test_browsing_over_tor_has_an_application_and_no_traffic_type() -> None:
    fact = iscx_table().find("torGoogle.pcap")
    assert fact is not None
    assert fact.labels == {"application": "Tor", "traffic": None, "auxiliary": None}


def test_capture_name_keeps_the_spelling() -> None:
    assert capture_name("a.zip/b/YouTube HTML5_1.PCAPNG") == "YouTube HTML5_1"


def test_manifest() -> None:
    table = read_manifest(
        b"\xef\xbb\xbfcapture,Application,service,vpn,packets\r\n"
        b"one.pcap,skype,VoIP,1,3\r\ntwo.pcap,,browsing,no,\r\n",
        "manifest.csv",
    )
    one, two = table.find("ONE.pcapng"), table.find("two")
    assert one is not None
    assert one.labels["traffic"] == "VPN VoIP"
    assert one.application == "Skype"
    assert two is not None
    assert not any(two.labels.values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no column application, capture, service, vpn"),
        ("capture,application,service\n", "no column vpn"),
        ("capture,application,service,vpn\na,Signal,chat,0\n", "line 2: unknown application 'Signal'"),
        ("capture,application,service,vpn\na,Skype,games,0\n", "line 2: unknown service 'games'"),
        ("capture,application,service,vpn\na,Skype,chat,maybe\n", "line 2: vpn must be 0 or 1"),
        ("capture,application,service,vpn\na.pcap,Skype,chat,0\nA.pcapng,ICQ,chat,0\n", "line 3: .* twice"),
        ("capture,application,service,vpn\na,Skype\n", "line 2: vpn must be 0 or 1, not ''"),
    ],
)
def test_wrong_manifests_name_the_line(text: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        read_manifest(text.encode(), "manifest.csv")


def test_a_manifest_that_is_no_text() -> None:
    with pytest.raises(DatasetError, match="not UTF-8"):
        read_manifest(b"\xff\xfe\x00", "manifest.csv")
