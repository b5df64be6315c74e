"""What the records of flows say of protocols and names, end to end."""

from pathlib import Path

from mtc.flows import EVIDENCE, SampleStream


def _rows(path: Path) -> dict[tuple[str, int], dict[str, object]]:
    with SampleStream(path, build=False, names=True) as stream:
        for _ in stream:
            pass
        records = stream.flows.records()
    assert records.evidence is not None
    assert list(records.evidence.row(0)) == list(EVIDENCE)
    return {
        (records.address("src", k), int(records.src_port[k])): records.evidence.row(k)
        for k in range(len(records))
    }


def test_names_of_a_capture(shared_data: Path) -> None:
    rows = _rows(shared_data / "protocol-captures/captures/ntop__nDPI__pcap__instagram.pcap")
    row = rows["192.168.0.103", 56382]
    del row["service"]  # tests/flows/test_services.py
    assert row == {
        "app_proto": "tls",
        "app_proto_by": "payload",
        "server_name": "telegraph-ash.instagram.com",
        "server_name_by": "tls_sni",
        "alpn": None,
        "ja4": "t10d350400_1f24bcc5f17d_a875e5012fde",
    }
    assert rows["192.168.0.103", 38816]["server_name_by"] == "http_host"


def test_a_name_by_a_dns_answer(shared_data: Path) -> None:
    rows = _rows(shared_data / "labelled-captures/captures/ntop__nDPI__pcap__whatsapp_login_chat.pcap")
    chat = rows["192.168.2.4", 49206]
    assert (chat["server_name"], chat["server_name_by"]) == ("e12.whatsapp.net", "dns")


def test_records_without_evidence(shared_data: Path) -> None:
    path = shared_data / "protocol-captures/captures/ntop__nDPI__pcap__instagram.pcap"
    with SampleStream(path, build=False) as stream:
        for _ in stream:
            pass
        assert stream.flows.records().evidence is None
