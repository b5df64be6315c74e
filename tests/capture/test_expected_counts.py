"""Counts of packets in captures of many projects, against what tshark 4.0.17 reads of them."""

import csv
from pathlib import Path

import pytest

from mtc.capture import open_capture
from mtc.errors import CaptureError

TSHARK_READS_NO_SUCH_LINK_TYPE = "tshark refuses the link type; its records are read and counted here"
CUSTOM_BLOCKS = "tshark counts pcapng custom blocks as frames; they are no packets"
GUESSED_VARIANT = "tshark takes the damage for a patched record header and reads on in the wrong place"

# What differs, with the packets read here and why. None stands for a file refused by both.
DIFFERENCES: dict[str, tuple[int | None, str]] = {
    "tcpdump__tests__juniper_es_oobr.pcap": (1, TSHARK_READS_NO_SUCH_LINK_TYPE),
    "tcpdump__tests__hoobr_juniper3.pcap": (1, TSHARK_READS_NO_SUCH_LINK_TYPE),
    "tcpdump__tests__juniper_monitor_invalid_cookie_length.pcap": (1, TSHARK_READS_NO_SUCH_LINK_TYPE),
    "tcpdump__tests__vtp_asan.pcap": (5, TSHARK_READS_NO_SUCH_LINK_TYPE),
    "libpcap__tests__linktype-reserved-field-not-zero.pcap": (None, "reserved bits set"),
    "libpcap__tests__pcap-invalid-version-1.pcap": (None, "pcap of version 1.4"),
    "libpcap__tests__pcapng-invalid-vers-1.pcapng": (None, "pcapng of version 0.1"),
    "libpcap__tests__pcapng-invalid-vers-2.pcapng": (None, "pcapng of version 1.1"),
    "pcapng-test-generator__output_be__basic__test017.pcapng": (0, CUSTOM_BLOCKS),
    "pcapng-test-generator__output_be__basic__test018.pcapng": (4, CUSTOM_BLOCKS),
    "pcapng-test-generator__output_le__basic__test018.pcapng": (4, CUSTOM_BLOCKS),
    "pcapng-test-generator__output_be__advanced__test102.pcapng": (5, CUSTOM_BLOCKS),
    "pcapng-test-generator__output_le__advanced__test102.pcapng": (5, CUSTOM_BLOCKS),
    "suricata-verify__tests__bug-6875-01__fuzz.pcap": (1, GUESSED_VARIANT),
}


def difference(capture: str) -> tuple[int | None, str] | None:
    return next((found for name, found in DIFFERENCES.items() if capture.endswith(f"__{name}")), None)


@pytest.mark.parametrize("folder", ["odd-captures", "labelled-captures"])
def test_packets_are_counted_as_tshark_counts_them(shared_data: Path, folder: str) -> None:
    with (shared_data / folder / "expected.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 100
    differing = 0
    for row in rows:
        path = shared_data / folder / "captures" / row["capture"]
        named = difference(row["capture"])
        differing += named is not None
        if named is not None and named[0] is None:
            with pytest.raises(CaptureError, match=named[1]):
                open_capture(path)
            continue
        with open_capture(path) as reader:
            packets = sum(len(batch) for batch in reader)
        assert packets == (int(row["packets"]) if named is None else named[0]), row["capture"]
        if folder == "odd-captures" and named is None:
            assert (reader.damage is not None) == bool(row["tshark_error"]), row["capture"]
            expected_format = row["format"].removesuffix(".gz")
            assert reader.format == expected_format, row["capture"]
    assert differing == (len(DIFFERENCES) if folder == "odd-captures" else 0)
