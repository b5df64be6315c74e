"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data: $MTC_DATA, or shared/data beside the checkout; else skip."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MTC_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real data: neither $MTC_DATA nor ../shared/data is a folder")
    return folder


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset folder of 240 short packets in 60 flows; the first payload byte tells the capture."""
    import dpkt

    from mtc.datasets import build_iscx

    folder = tmp_path_factory.mktemp("small")
    for number, name in enumerate(("aim_chat_3a", "email1a", "spotify1")):  # of the 150 original names
        with (folder / f"{name}.pcap").open("wb") as file:
            writer = dpkt.pcap.Writer(file, linktype=101)
            for i in range(80):
                payload = bytes([60 * number + 40]) + bytes(range(1, 12 + i % 7))
                udp = dpkt.udp.UDP(sport=2000 + i // 4 + 100 * number, dport=4000, data=payload)
                udp.ulen = len(udp)
                ip = dpkt.ip.IP(src=b"\x0a\0\0\x01", dst=b"\x0a\0\0\x02", p=17, data=udp)
                ip.len = len(ip)
                writer.writepkt(bytes(ip), ts=1_500_000_000 + i)
    build_iscx(folder, folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a small untrained model with the paper's tasks, uneven temperatures and absent classes."""
    import torch

    from mtc.config import RunConfig
    from mtc.models import ModelCard, build_network, save_model
    from mtc.tasks import ISCX

    config = RunConfig.from_dict({"model": {"ffn_width": 16, "repetitions": [1, 1, 1]}})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = build_network(config.model, ISCX)
    card = ModelCard(
        tasks=dict(ISCX),
        config=config,
        calibration={"application": {"packet": 0.5, "flow": 2.0}, "traffic": {"packet": 1.5, "flow": 4.0}},
        absent={"application": ["Gmail", "SCP", "Tor"], "traffic": ["VPN Email"]},
        dataset={"name": "none", "split": "flow"},
        notes=["Untrained."],
    )
    folder = tmp_path_factory.mktemp("models") / "tiny"
    save_model(folder, network, card)
    return folder


@pytest.fixture(scope="session")
def short_capture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo's chats, call signalling and tracker: 7 flows of 60 samples, TCP and UDP, interleaved."""
    import dpkt

    import mtc

    path = tmp_path_factory.mktemp("captures") / "short.pcap"
    demo = Path(mtc.__file__).parent / "assets" / "demo.pcap"
    with demo.open("rb") as source, path.open("wb") as target:
        writer = dpkt.pcap.Writer(target)
        for time, frame in dpkt.pcap.Reader(source):
            transport = dpkt.ethernet.Ethernet(frame).data.data
            if {transport.sport, transport.dport} & {6697, 6969, 5060, 10003}:
                writer.writepkt(frame, ts=time)
    return path
