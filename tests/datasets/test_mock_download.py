"""A mock of the download as UNB serves it today, with everything that is odd in it."""

import csv
import io
import zipfile
from importlib import resources
from pathlib import Path

import dpkt
import pytest
from typer.testing import CliRunner

from mtc.cli import app
from mtc.datasets import Dataset, DatasetInfo, build_iscx

ABSENT = "tor", "torrent"
"""What today's download has not: captures whose names begin so."""
ARCHIVES = "VPN-PCAPS-01", "VPN-PCAPs-02", "NonVPN-PCAPs-01", "NonVPN-PCAPs-02", "NonVPN-PCAPs-03"
CUT, UNREADABLE, LOST = "netflix1", "spotify4", "vimeo4"
"""A capture cut off in a record, a member that cannot be unpacked, and one in an archive cut off."""


def facts() -> list[dict[str, str]]:
    """The rows of the table of captures."""
    table = resources.files("mtc.datasets.sources").joinpath("iscx_captures.csv").read_text(encoding="utf-8")
    return list(csv.DictReader(table.splitlines()[1:]))


def capture(number: int, packets: int, *, pcapng: bool) -> bytes:
    """UDP packets of raw IP from a host of the capture's own, in three flows."""
    out = io.BytesIO()
    if pcapng:
        writer = dpkt.pcapng.Writer(out, idb=dpkt.pcapng.InterfaceDescriptionBlockLE(linktype=101))
    else:
        writer = dpkt.pcap.Writer(out, linktype=101)
    for i in range(packets):
        udp = dpkt.udp.UDP(sport=40_000 + i % 3, dport=443, data=bytes([number, i, 1]), ulen=11)
        ip = dpkt.ip.IP(src=bytes([10, 0, 1, number]), dst=bytes([10, 0, 0, 2]), p=17, data=udp, len=31)
        writer.writepkt(bytes(ip), ts=1_500_000_000 + i)
    return out.getvalue()


def odd_name(name: str, number: int) -> str:
    """A capture's name as downloads spell it: blanks, capitals, pcapng among pcap."""
    spelled = (f"{name}.pcap", f" {name} .pcap", f"{name.upper()}.PCAP", f"{name.replace('_', ' ')}.pcapng")
    return spelled[number % 4]


@pytest.fixture(scope="module")
def sizes() -> dict[str, int]:
    """Capture -> packets, of those that the download has."""
    names = [row["capture"] for row in facts() if not row["capture"].lower().startswith(ABSENT)]
    return {name: 6 + i % 5 for i, name in enumerate(names)}


@pytest.fixture(scope="module")
def download(tmp_path_factory: pytest.TempPathFactory, sizes: dict[str, int]) -> Path:
    folder = tmp_path_factory.mktemp("mock") / "download"
    folder.mkdir()
    archives = {name: zipfile.ZipFile(folder / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) for name in ARCHIVES}
    for number, (name, packets) in enumerate(sizes.items()):
        data = capture(number, packets, pcapng=number % 4 == 3)
        if name == CUT:
            data = data[:-5]
        if name == LOST:
            archives["NonVPN-PCAPs-03"].writestr(f"NonVPN-PCAPs-03/{name}.pcap", data)
        elif number == 5:
            (folder / "unpacked").mkdir()
            (folder / "unpacked" / odd_name(name, number)).write_bytes(data)
        else:
            archive = f"VPN-PCAP{'Ss'[number % 2]}-0{1 + number % 2}" if name.startswith("vpn") else None
            archive = archive or f"NonVPN-PCAPs-0{1 + number % 2}"
            archives[archive].writestr(f"{archive}/nested folder/{odd_name(name, number)}", data)
    first = archives["VPN-PCAPS-01"]
    first.writestr("VPN-PCAPS-01/browsing.pcap", capture(250, 4, pcapng=False))
    first.writestr("VPN-PCAPS-01/Readme First.txt", "text")
    first.writestr("__MACOSX/VPN-PCAPS-01/._email1a.pcap", b"\0\5\x16\7\0\2\0\0Mac OS X")
    first.writestr("VPN-PCAPS-01/again/vpn_email2a.pcap", capture(251, 9, pcapng=False))
    for archive in archives.values():
        archive.close()
    pack_unreadably(folder / "NonVPN-PCAPs-01.zip", f"NonVPN-PCAPs-01/nested folder/{UNREADABLE}.pcap")
    cut_off = folder / "NonVPN-PCAPs-03.zip"
    cut_off.write_bytes(cut_off.read_bytes()[:-60])
    return folder


def pack_unreadably(path: Path, name: str) -> None:
    """Say in an archive's directory that a member is packed in a way that nobody knows."""
    data = bytearray(path.read_bytes())
    entry = data.rindex(name.encode()) - 46
    assert data[entry : entry + 4] == b"PK\1\2"
    data[entry + 10 : entry + 12] = b"\x63\0"
    path.write_bytes(data)


@pytest.fixture(scope="module")
def info(download: Path) -> DatasetInfo:
    return build_iscx(download, download.parent / "out", workers=1)


def test_everything_readable_is_read(info: DatasetInfo, sizes: dict[str, int]) -> None:
    expected = {name: n for name, n in sizes.items() if name not in (UNREADABLE, LOST)}
    expected[CUT] -= 1
    assert {capture.capture: capture.kept for capture in info.captures} == expected
    assert {capture.format for capture in info.captures} == {"pcap", "pcapng"}
    assert info.rows == info.packets == sum(expected.values())


def test_every_oddity_is_told(info: DatasetInfo, sizes: dict[str, int]) -> None:
    report = info.report
    first = "download/VPN-PCAPS-01.zip"
    assert report.unknown == {
        f"{first}/VPN-PCAPS-01/Readme First.txt": "not a capture",
        f"{first}/VPN-PCAPS-01/browsing.pcap": "a capture that no table labels",
        f"{first}/__MACOSX/VPN-PCAPS-01/._email1a.pcap": "not a capture",
    }
    assert report.repeated == (f"{first}/VPN-PCAPS-01/again/vpn_email2a.pcap",)
    assert set(report.missing) == {row["capture"] for row in facts()} - sizes.keys() | {UNREADABLE, LOST}
    assert report.unreadable.keys() == {
        f"download/NonVPN-PCAPs-01.zip/NonVPN-PCAPs-01/nested folder/{UNREADABLE}.pcap",
        "download/NonVPN-PCAPs-03.zip",
    }
    (cut,) = info.damaged.keys() - report.unreadable.keys()
    assert CUT in cut
    assert "byte" in info.damaged[cut]
    assert info.absent == {"application": ("Tor",), "traffic": ("Torrent",), "auxiliary": ()}
    assert {Path(file.file).name for file in info.sources} == {
        *(f"{name}.zip" for name in ARCHIVES),
        odd_name(list(sizes)[5], 5),
    }


def test_the_command_says_a_line_for_each(download: Path, info: DatasetInfo, tmp_path: Path) -> None:
    result = CliRunner().invoke(
        app, ["dataset", "iscx", str(download), str(tmp_path / "out"), "--workers", "1"]
    )
    assert result.exit_code == 3
    report = info.report
    odd = (*info.damaged, *report.unknown, *report.repeated)
    assert sorted(line.split(": ")[1] for line in result.stderr.splitlines()) == sorted(odd)
    assert "Without packets in application: Tor." in result.stdout
    assert "Without packets in traffic: Torrent." in result.stdout
    assert f"Not in the source: {len(report.missing)} captures" in result.stdout
    assert Dataset.open(tmp_path / "out").info == info
