"""Samples and filter counts of real packets, byte for byte against the oracle."""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from mtc.packets import SampleStream, read_samples


def _load_oracle() -> ModuleType:
    spec = importlib.util.spec_from_file_location("packet_oracle", Path(__file__).with_name("oracle.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


oracle = _load_oracle()


def test_samples_and_counts_agree_with_the_oracle_on_iscx(shared_data: Path) -> None:
    packets = samples = 0
    for path in sorted((shared_data / "iscx-mini").glob("*.pcap")):
        reasons, expected, counts = oracle.read_pcap(path)
        found = read_samples(path, decapsulate=False)
        assert found.packets == len(reasons), path.name
        del counts[""]
        assert found.left_out == dict(counts), path.name
        assert found.headers["packet"].tolist() == [k for k, r in enumerate(reasons, 1) if not r]
        assert found.samples.tobytes() == b"".join(expected), path.name
        packets += found.packets
        samples += len(found)
    assert packets == 126_001
    assert samples == pytest.approx(16_700, rel=0.01)


def test_no_iscx_packet_is_a_tunnel(shared_data: Path) -> None:
    for path in sorted((shared_data / "iscx-mini").glob("vpn_*.pcap"))[:10]:
        with SampleStream(path, decapsulate=False) as plain, SampleStream(path) as peeled:
            for one, other in zip(plain, peeled, strict=True):
                assert np.array_equal(one.samples, other.samples)
