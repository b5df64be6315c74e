"""Models of flow features on captures: verdicts by the convention of their card, and notes beside them."""

from pathlib import Path

import dpkt
import numpy as np
import pytest

from mtc.capture import expand_inputs
from mtc.datasets.flow_features.columns import values_of_flows
from mtc.errors import CaptureError, UsageError
from mtc.flows.features import iter_features
from mtc.inference import CaptureEnd, Classifier, FlowVerdicts, VerdictSettings
from mtc.inference.feature_flows import Strangeness


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier.load("cicids2017")


@pytest.fixture(scope="module")
def capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve UDP flows of four packets with large gaps, and three flows of one packet."""
    path = tmp_path_factory.mktemp("features") / "capture.pcap"
    with path.open("wb") as file:
        writer = dpkt.pcap.Writer(file, linktype=dpkt.pcap.DLT_RAW)
        for i in range(51):
            flow = i % 12 if i < 48 else i
            udp = dpkt.udp.UDP(sport=3000 + flow, dport=33_333, data=bytes(1200 + i))
            udp.ulen = len(udp)
            ip = dpkt.ip.IP(src=b"\x0a\0\0\x01", dst=b"\x0a\0\0\x02", p=17, data=udp)
            ip.len = len(ip)
            writer.writepkt(bytes(ip), ts=1_500_000_000 + 2.5 * (i // 12) + i / 1000)
    return path


def test_verdicts_are_those_of_the_features(classifier: Classifier, capture: Path) -> None:
    verdicts = classifier.classify(capture)
    assert isinstance(verdicts, FlowVerdicts)
    assert classifier.model.card.convention == "cicids2017"
    rows = [rows for _, rows in iter_features(capture, convention="cicids2017")]
    values = np.concatenate([values_of_flows(part) for part in rows])
    found = list(verdicts)
    assert len(found) == len(values) == 12
    probabilities = classifier.predict(values)["attack"]
    by_port = {row["src_port"]: row["attack"]["probabilities"] for row in found}
    ports = np.concatenate([part.src_port for part in rows]).tolist()
    for port, wanted in zip(ports, probabilities, strict=True):
        assert list(by_port[port].values()) == pytest.approx(wanted.tolist(), abs=1e-6)
    assert [row["flow"] for row in found] == list(range(1, 13))
    assert {row["packets"] for row in found} == {4}


def test_flows_of_one_packet_and_foreign_traffic_are_mentioned(classifier: Classifier, capture: Path) -> None:
    ends: list[CaptureEnd] = []
    problems: list[str] = []
    list(classifier.classify_sources(expand_inputs([capture]), problems, on_end=ends.append))
    notes = " ".join(ends[0].notes)
    assert "3 flows of one packet have no verdict" in notes
    assert "unlike the training data" in notes
    assert (ends[0].packets, ends[0].flows, problems) == (51, 12, [])


def test_rows_of_the_training_data_are_like_it(classifier: Classifier, shared_data: Path) -> None:
    from mtc.datasets.flow_features.opening import open_table
    from mtc.datasets.flow_features.sources import find_tables

    source = next(iter(find_tables([shared_data / "cicids2017-mini" / "MachineLearningCSV.zip"])))
    with open_table(source) as table:
        values = next(iter(table)).values
    like, foreign = Strangeness(classifier.model), Strangeness(classifier.model)
    like.add(values)
    foreign.add(values * 1.37)
    assert like.notes() == ()
    assert "unlike the training data" in foreign.notes()[0]


def test_a_filter_and_a_window_choose_packets(classifier: Classifier, capture: Path) -> None:
    assert len(classifier.classify(capture, bpf="udp src port 3004")) == 1
    assert len(classifier.classify(capture, end=1_500_000_003)) == 12
    assert len(classifier.classify(capture, end=1_500_000_001)) == 0


def test_what_concerns_packets_is_refused(classifier: Classifier, capture: Path) -> None:
    with pytest.raises(UsageError, match="whole flows"):
        classifier.classify(capture, packets=3)
    with pytest.raises(UsageError, match="whole flows"):
        list(classifier.classify_packets(expand_inputs([capture]), []))
    with pytest.raises(CaptureError):
        classifier.classify(capture.with_name("missing.pcap"))
    with pytest.raises(UsageError, match="no capture"):
        list(classifier.classify_sources([], [], settings=VerdictSettings()))
