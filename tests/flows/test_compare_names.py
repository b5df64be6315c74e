"""Names beside tshark's and JA4 beside nDPI's, by scripts/compare_names.py on real captures."""

import importlib.util
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "compare_names.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("compare_names", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compare_names"] = module
    spec.loader.exec_module(module)
    return module


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize(
    "capture",
    [
        "protocol-captures/captures/ntop__nDPI__pcap__quic-29.pcap",
        "protocol-captures/captures/ntop__nDPI__pcap__quic-v2.pcapng",
        "protocol-captures/captures/ntop__nDPI__pcap__quic_q50.pcap",
        "protocol-captures/captures/ntop__nDPI__pcap__tls_2_reasms.pcapng",
        "protocol-captures/captures/ntop__nDPI__pcap__socks.pcap",
        "labelled-captures/captures/cisco__mercury__unit_tests__pcaps__quic_reordered_frames.pcap",
        "labelled-captures/captures/ntop__nDPI__pcap__waze.pcap",
    ],
)
def test_names_are_tshark_s(script: ModuleType, shared_data: Path, capture: str) -> None:
    ours = script.read_flows(shared_data / capture)
    theirs = script.tshark_names(shared_data / capture)
    assert theirs
    assert {flow: ours[flow]["server_name"] for flow in theirs} == theirs


@pytest.mark.parametrize(("folder", "fingerprints"), [("labelled-captures", 150), ("protocol-captures", 178)])
def test_fingerprints_are_ndpi_s_but_for_its_deviations(
    script: ModuleType, shared_data: Path, folder: str, fingerprints: int
) -> None:
    total = script.Comparison()
    script.compare(shared_data / folder, total, names=False)
    assert total.fingerprints == fingerprints
    assert len(total.fingerprint_differences) <= 0.02 * fingerprints
