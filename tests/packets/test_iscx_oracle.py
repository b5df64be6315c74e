"""Samples and filter counts of real packets, byte for byte against the oracle."""

from pathlib import Path
from types import ModuleType

import pytest

from mtc.flows import SampleStream, read_samples


def test_samples_and_counts_agree_with_the_oracle_on_iscx(shared_data: Path, oracle: ModuleType) -> None:
    packets = samples = 0
    for path in sorted((shared_data / "iscx-mini").glob("*.pcap")):
        reasons, expected, counts = oracle.read_pcap(path)
        found = read_samples(path)
        assert found.packets == len(reasons), path.name
        del counts[""]
        assert found.left_out == dict(counts), path.name
        assert found.headers["packet"].tolist() == [k for k, r in enumerate(reasons, 1) if not r]
        assert found.samples.tobytes() == b"".join(expected), path.name
        packets += found.packets
        samples += len(found)
    assert packets == 126_001
    assert samples == pytest.approx(16_700, rel=0.01)


def test_padding_of_short_frames_is_no_payload(shared_data: Path) -> None:
    """2,337 TCP segments of iscx-mini end before their frame does, and hold no payload."""
    padded = 0
    for path in sorted((shared_data / "iscx-mini").glob("*.pcap")):
        with SampleStream(path) as stream:
            for _ in stream:
                batch, headers = stream.batch, stream.batch_headers
                assert batch is not None
                assert headers is not None
                frame_end = batch.offsets + batch.caplens
                empty = (headers.protocol == 6) & (headers.payload_offset > 0) & (headers.payload_length == 0)
                padded += int((empty & (frame_end > headers.payload_offset)).sum())
                assert not (headers.reason[empty] == 0).any()
    assert padded == 2_337
