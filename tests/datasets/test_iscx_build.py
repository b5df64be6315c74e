"""Building from downloads as they are: zips, odd names, damage, and what is not there."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from mtc.datasets import Dataset, DatasetInfo, build_iscx
from mtc.datasets.sources.iscx_labels import iscx_table
from mtc.errors import DatasetError, OutputError, UsageError

Write = Callable[..., Path]


def packets(n: int, port: int = 40_000, flows: int = 5) -> list[tuple[int, int, bytes]]:
    return [(port + i % flows, 443, bytes([i % 251, i // 251, 7, 0])) for i in range(n)]


def kept(info: DatasetInfo) -> dict[str, int]:
    return {capture.capture: capture.kept for capture in info.captures}


def test_a_download_with_every_oddity(tmp_path: Path, write_capture: Write) -> None:
    source = tmp_path / "download"
    write_capture(source / "nested/Email1a .PCAP", packets(20))
    write_capture(source / "torGoogle.pcap", packets(6))
    whole = write_capture(source / "youtube1.pcap", packets(10)).read_bytes()
    (source / "youtube1.pcap").write_bytes(whole[:-3])
    write_capture(source / "stranger.pcap", packets(3))
    (source / "README.txt").write_text("read me")
    (source / "skype_chat1a.pcap").write_text("this is text")
    (source / "netflix1.pcap").touch()
    inside = write_capture(tmp_path / "x.pcap", packets(8)).read_bytes()
    with zipfile.ZipFile(source / "VPN-PCAPS-01.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("VPN-PCAPS-01/vpn_ICQ_chat1a.pcap", inside)
        archive.writestr("VPN-PCAPS-01/email1a.pcap", inside)
        archive.writestr("VPN-PCAPS-01/notes.txt", "notes")

    info = build_iscx(source, tmp_path / "out")

    assert kept(info) == {"email1a": 8, "torGoogle": 6, "vpn_icq_chat1a": 8, "youtube1": 9}
    report = info.report
    assert set(report.unknown) == {
        "download/README.txt",
        "download/stranger.pcap",
        "download/VPN-PCAPS-01.zip/VPN-PCAPS-01/notes.txt",
    }
    assert set(report.unreadable) == {"download/skype_chat1a.pcap", "download/netflix1.pcap"}
    assert report.repeated == ("download/nested/Email1a .PCAP",)  # a folder's files go before its folders
    assert len(report.missing) == 150 - 4
    assert set(info.damaged) == set(report.unreadable) | {"download/youtube1.pcap"}
    assert "byte" in info.damaged["download/youtube1.pcap"]
    assert "Gmail" in info.absent["application"]
    assert info.counts["application"]["Tor"].kept == 6
    assert info.counts["traffic"][""].kept == 6
    assert {file.file for file in info.sources} >= {"download/VPN-PCAPS-01.zip", "download/youtube1.pcap"}
    assert info == DatasetInfo.read(tmp_path / "out")


def test_a_manifest_goes_before_the_table(tmp_path: Path, write_capture: Write) -> None:
    for name in ("email1a", "mine", "icq_chat_3a", "page"):
        write_capture(tmp_path / f"in/{name}.pcap", packets(10))
    (tmp_path / "in/manifest.csv").write_text(
        "capture,application,service,vpn\nemail1a.pcap,Skype,voip,1\nmine.pcap,,chat,0\n"
        "gone.pcap,Skype,chat,0\npage.pcap,,browsing,0\n"
    )
    info = build_iscx(tmp_path / "in", tmp_path / "out")
    labels = {capture.capture: capture.labels for capture in info.captures}
    assert labels["email1a"] == {"application": "Skype", "traffic": "VPN VoIP", "auxiliary": "All VoIP"}
    assert labels["mine"] == {"application": None, "traffic": "Chat", "auxiliary": "All Chat"}
    assert labels["icq_chat_3a"]["application"] == "ICQ"
    assert info.report.missing == ("gone",)
    assert info.report.unlabelled == ("in/page.pcap",)
    assert info.report.unknown == {}
    assert "in/manifest.csv" in {file.file for file in info.sources}


def test_a_manifest_inside_a_zip(tmp_path: Path, write_capture: Write) -> None:
    inside = write_capture(tmp_path / "x.pcap", packets(8)).read_bytes()
    with zipfile.ZipFile(tmp_path / "mine.zip", "w") as archive:
        archive.writestr("a/call.pcap", inside)
        archive.writestr("a/manifest.csv", "capture,application,service,vpn\ncall,Skype,voip,0\n")
    info = build_iscx(tmp_path / "mine.zip", tmp_path / "out")
    assert [capture.labels["application"] for capture in info.captures] == ["Skype"]
    assert info.captures[0].file == "mine.zip/a/call.pcap"


def test_the_cap_takes_half_from_each_side(tmp_path: Path, write_capture: Write) -> None:
    for name, n in (("skype_chat1a", 60), ("vpn_skype_chat1a", 60), ("icq_chat_3a", 60)):
        write_capture(tmp_path / f"in/{name}.pcap", packets(n))
    write_capture(tmp_path / "in/vpn_icq_chat1a.pcap", packets(5))
    write_capture(tmp_path / "in/email1a.pcap", packets(7))
    write_capture(tmp_path / "in/skype_chat1b.pcap", packets(60, port=50_000))
    write_capture(tmp_path / "in/unattributed.pcap", packets(90))
    (tmp_path / "in/manifest.csv").write_text("capture,application,service,vpn\nunattributed,,voip,1\n")
    info = build_iscx(tmp_path / "in", tmp_path / "out", cap=40)
    count = kept(info)
    assert count["skype_chat1a"] + count["skype_chat1b"] == count["vpn_skype_chat1a"] == 20
    assert min(count["skype_chat1a"], count["skype_chat1b"]) > 0
    assert (count["icq_chat_3a"], count["vpn_icq_chat1a"]) == (35, 5)
    assert count["email1a"] == 7
    assert count["unattributed"] == 90
    assert info.counts["application"]["Skype"].samples == 180
    dataset = Dataset.open(tmp_path / "out")
    assert len(dataset) == len(dataset.part("flow", "all")) == 40 + 40 + 7 + 90
    assert build_iscx(tmp_path / "in", tmp_path / "two", cap=40).hash == info.hash
    assert build_iscx(tmp_path / "in", tmp_path / "three", cap=40, seed=2).hash != info.hash
    assert build_iscx(tmp_path / "in", tmp_path / "all", cap=None).rows == 342


def test_rows_hold_the_samples_in_order(tmp_path: Path, write_capture: Write) -> None:
    write_capture(tmp_path / "in/email1a.pcap", packets(30, flows=3))
    build_iscx(tmp_path / "in", tmp_path / "out")
    dataset = Dataset.open(tmp_path / "out")
    samples = dataset.part("packet", "all")
    dense = samples.dense()
    assert dense[:, 40:44].tolist() == [[i % 251, 0, 7, 0] for i in range(30)]
    assert not dense[:, 12:20].any()  # no address is kept
    assert not dense[:, 44:].any()
    assert samples.time.tolist() == [(1_500_000_000 + i) * 10**9 for i in range(30)]
    assert samples.flow.tolist() == [i % 3 for i in range(30)]
    assert dataset.column("packet").to_pylist() == list(range(1, 31))
    strict = dataset.part("packet", "all", mask="strict").dense()
    assert not strict[:, 20:24].any()
    assert dense[:, 20:24].any()
    assert strict[:, 40:44].tolist() == dense[:, 40:44].tolist()


@pytest.mark.parametrize("name", ["missing", "empty", "text"])
def test_sources_without_anything_to_read(name: str, tmp_path: Path) -> None:
    if name != "missing":
        (tmp_path / name).mkdir()
    if name == "text":
        (tmp_path / "text/email1a.pcap").write_text("no capture")
    message = {"missing": "no such file", "empty": "no capture in", "text": "email1a.pcap: not a capture"}
    with pytest.raises(DatasetError, match=message[name]):
        build_iscx(tmp_path / name, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir() if path.name != name] == []


def test_captures_without_samples(tmp_path: Path, write_capture: Write) -> None:
    write_capture(tmp_path / "in/email1a.pcap", [(5353, 5353, b"mdns")])
    with pytest.raises(DatasetError, match="no packet"):
        build_iscx(tmp_path / "in", tmp_path / "out")


def test_nothing_is_overwritten_without_force(tmp_path: Path, write_capture: Write) -> None:
    write_capture(tmp_path / "in/email1a.pcap", packets(9))
    build_iscx(tmp_path / "in", tmp_path / "out")
    with pytest.raises(OutputError, match="--force"):
        build_iscx(tmp_path / "in", tmp_path / "out")
    write_capture(tmp_path / "in/email1b.pcap", packets(9))
    assert build_iscx(tmp_path / "in", tmp_path / "out", force=True).rows == 18
    assert len(Dataset.open(tmp_path / "out")) == 18
    with pytest.raises(OutputError, match="no dataset"):
        build_iscx(tmp_path / "in", tmp_path / "in", force=True)
    assert (tmp_path / "in/email1a.pcap").is_file()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


@pytest.mark.parametrize("wrong", [{"cap": 0}, {"seed": -1}])
def test_wrong_settings(wrong: dict[str, int], tmp_path: Path, write_capture: Write) -> None:
    write_capture(tmp_path / "in/email1a.pcap", packets(9))
    with pytest.raises(UsageError):
        build_iscx(tmp_path / "in", tmp_path / "out", **wrong)


def test_dataset_json_tells_its_settings_and_no_place(tmp_path: Path, write_capture: Write) -> None:
    write_capture(tmp_path / "in/email1a.pcap", packets(9))
    seen: list[tuple[str, int, int]] = []
    build_iscx(tmp_path / "in", tmp_path / "out", progress=lambda *step: seen.append(step))
    text = (tmp_path / "out/dataset.json").read_text()
    assert str(tmp_path) not in text
    values = json.loads(text)
    assert values["settings"]["cap"] == 50_000
    assert values["settings"]["labelled_by"] == {
        "table": f"iscx/{iscx_table().version}",
        "variants": {"video-call": "voip", "gmail": "email", "tor": "in"},
        "manifests": [],
    }
    size = (tmp_path / "in/email1a.pcap").stat().st_size
    assert sum(read for _, read, _ in seen) == size
    assert {total for _, _, total in seen} == {size}


def test_disputed_captures_can_be_read_otherwise(tmp_path: Path, write_capture: Write) -> None:
    for name in ("skype_video1a", "gmailchat1", "torVimeo1", "email1a"):
        write_capture(tmp_path / f"in/{name}.pcap", packets(9))

    def traffic(out: str, **variants: str) -> dict[str, str | None]:
        named = {name.replace("_", "-"): reading for name, reading in variants.items()}
        info = build_iscx(tmp_path / "in", tmp_path / out, variants=named)
        assert {*info.report.unlabelled} == {
            f"in/{name}.pcap" for name in ("skype_video1a", "torVimeo1") if name not in kept(info)
        }
        return {capture.capture: capture.labels["traffic"] for capture in info.captures}

    usual = {"email1a": "Email", "gmailchat1": "Email", "skype_video1a": "VoIP", "torVimeo1": "Streaming"}
    assert traffic("one") == usual
    assert traffic("two", gmail="chat") == usual | {"gmailchat1": "Chat"}
    assert traffic("three", video_call="out", tor="out") == {"email1a": "Email", "gmailchat1": "Email"}
    with pytest.raises(UsageError, match="no variant gmail=spam"):
        build_iscx(tmp_path / "in", tmp_path / "four", variants={"gmail": "spam"})
