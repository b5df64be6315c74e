"""nDPI's second opinion: words, join by five-tuple and time, and a real capture."""

from pathlib import Path

import pytest

from mtc.capture.sources import Source
from mtc.errors import CaptureError, UsageError
from mtc.flows import SampleStream
from mtc.flows.ndpi import NdpiOpinions, add_opinions, flow_key, service_of
from mtc.flows.services import Service, Services

SERVICES = Services.load()
KEY = flow_key(6, "192.0.2.1", 1024, "192.0.2.2", 443)


@pytest.mark.parametrize(
    ("application", "category", "service"),
    [
        ("TLS.YouTube", "Media", Service("YouTube", "Streaming", None)),
        ("TLS.Zoom", "Video", Service("Zoom", "VoIP", None)),
        ("DNS.Google", "Network", Service(None, "DNS", None)),
        ("SMTP", "Email", Service(None, "Email", None)),
        ("BitTorrent", "Download", Service("BitTorrent", "Torrent", None)),
        ("QUIC.PlayStore", "SoftwareUpdate", Service("PlayStore", "Software Update", None)),
        ("TLS", "Web", None),
        ("HTTP", "Web", Service(None, "Web", None)),
        ("Unknown", "Unspecified", None),
        ("TLS.Something", "A category of tomorrow", None),
    ],
)
def test_in_the_words_of_this_package(application: str, category: str, service: Service | None) -> None:
    assert service_of(application, category, SERVICES) == service


def test_the_opinion_that_overlaps_longest() -> None:
    early, late = Service("a", "Web", None), Service("b", "Chat", None)
    opinions = NdpiOpinions([(KEY, 0, 100, early), (KEY, 200, 400, late)])
    assert opinions.service(KEY, 50, 60) is early
    assert opinions.service(KEY, 90, 260) is late
    assert opinions.service(KEY, 120, 150) is None
    assert opinions.service(flow_key(17, "192.0.2.1", 1024, "192.0.2.2", 443), 0, 100) is None


def test_both_directions_and_spellings_have_one_key() -> None:
    assert flow_key(6, "192.0.2.2", 443, "192.0.2.1", 1024) == KEY
    assert flow_key(6, "2001:DB8:0::1", 1, "::1", 2) == flow_key(6, "::1", 2, "2001:db8::1", 1)


def test_a_real_capture(shared_data: Path) -> None:
    pytest.importorskip("nfstream", reason="the extra ndpi is not installed")
    capture = shared_data / "labelled-captures" / "captures" / "ntop__nDPI__pcap__webex.pcap"
    key = flow_key(6, "10.8.0.1", 41346, "64.68.105.103", 443)
    found = NdpiOpinions.read(capture).service(key, 1444570624853_000000, 1444570630376_000000)
    assert found == Service("Webex", "VoIP", None)


def test_only_flows_that_say_nothing_are_given_an_opinion(shared_data: Path) -> None:
    pytest.importorskip("nfstream", reason="the extra ndpi is not installed")
    capture = shared_data / "labelled-captures" / "captures" / "ntop__nDPI__pcap__webex.pcap"
    with SampleStream(capture, build=False, names=True) as stream:
        for _ in stream:
            pass
        flows = stream.flows.records()
    assert flows.evidence is not None
    before = flows.evidence.service.tolist()
    add_opinions(flows, Source(capture.name, capture))
    after = flows.evidence.service.tolist()
    assert [said for said in before if said is not None] == [
        now for said, now in zip(before, after, strict=True) if said is not None
    ]
    given = [now for said, now in zip(before, after, strict=True) if said is None and now is not None]
    assert given
    assert {service["by"] for service in given} == {"ndpi"}
    with pytest.raises(UsageError, match="plain pcap and pcapng files only"):
        add_opinions(flows, Source("-", None))


def test_what_is_no_capture(tmp_path: Path) -> None:
    pytest.importorskip("nfstream", reason="the extra ndpi is not installed")
    (tmp_path / "text").write_text("no capture")
    with pytest.raises(CaptureError, match="nDPI cannot read it"):
        NdpiOpinions.read(tmp_path / "text")
