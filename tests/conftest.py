"""What all tests share."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

if "PYTEST_XDIST_WORKER" in os.environ:  # one thread per process, as there is one process per core
    for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS"):
        os.environ.setdefault(variable, "1")

os.environ["MTC_REPORT_COMPILING"] = "0"  # in a fresh checkout, any test may be the first to compile

import numpy as np
import pytest

SERVERS, EXPORTS = "serving/http", "inference/test_export.py"
LONGEST = (
    SERVERS, "training/test_run.py", "training/test_ranks.py", EXPORTS,
    "training/test_features.py", "training/test_initial.py",
)  # fmt: skip
"""Where several processes share the tests, these begin first, so that none is left alone with one of them."""


def _group(file: str) -> str:
    """Tests of a group share a process: those of a file, or of what takes long to start or make."""
    place = file.removeprefix("tests/")
    if place.startswith(("serving/http/", "serving/page/")):
        return SERVERS
    return EXPORTS if place.endswith("/test_export.py") else place


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Of several processes, one gets all tests of a group."""
    from xdist.scheduler import LoadScopeScheduling

    class Groups(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return _group(nodeid.partition("::")[0])

    return Groups(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, where several processes share the tests."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        groups = [_group(item.nodeid.partition("::")[0]) for item in items]
        place = {name: number for number, name in enumerate(LONGEST)}
        order = sorted(range(len(items)), key=lambda i: place.get(groups[i], len(LONGEST)))
        items[:] = [items[i] for i in order]


HEADER = (
    " Destination Port, Flow Duration, Total Fwd Packets, Total Backward Packets,"
    "Total Length of Fwd Packets, Total Length of Bwd Packets, Fwd Packet Length Max,"
    " Fwd Packet Length Min, Fwd Packet Length Mean, Fwd Packet Length Std,Bwd Packet Length Max,"
    " Bwd Packet Length Min, Bwd Packet Length Mean, Bwd Packet Length Std,Flow Bytes/s, Flow Packets/s,"
    " Flow IAT Mean, Flow IAT Std, Flow IAT Max, Flow IAT Min,Fwd IAT Total, Fwd IAT Mean, Fwd IAT Std,"
    " Fwd IAT Max, Fwd IAT Min,Bwd IAT Total, Bwd IAT Mean, Bwd IAT Std, Bwd IAT Max, Bwd IAT Min,"
    "Fwd PSH Flags, Bwd PSH Flags, Fwd URG Flags, Bwd URG Flags, Fwd Header Length, Bwd Header Length,"
    "Fwd Packets/s, Bwd Packets/s, Min Packet Length, Max Packet Length, Packet Length Mean,"
    " Packet Length Std, Packet Length Variance,FIN Flag Count, SYN Flag Count, RST Flag Count,"
    " PSH Flag Count, ACK Flag Count, URG Flag Count, CWE Flag Count, ECE Flag Count, Down/Up Ratio,"
    " Average Packet Size, Avg Fwd Segment Size, Avg Bwd Segment Size, Fwd Header Length,"
    "Fwd Avg Bytes/Bulk, Fwd Avg Packets/Bulk, Fwd Avg Bulk Rate, Bwd Avg Bytes/Bulk,"
    " Bwd Avg Packets/Bulk,Bwd Avg Bulk Rate,Subflow Fwd Packets, Subflow Fwd Bytes,"
    " Subflow Bwd Packets, Subflow Bwd Bytes,Init_Win_bytes_forward, Init_Win_bytes_backward,"
    " act_data_pkt_fwd, min_seg_size_forward,Active Mean, Active Std, Active Max, Active Min,Idle Mean,"
    " Idle Std, Idle Max, Idle Min, Label"
)
"""The first line of every table of MachineLearningCSV.zip, blanks included."""

WriteTable = Callable[..., Path]


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
        calibration={
            "application": {"packet": {"base": 0.5, "rise": 0.2}, "flow": {"base": 0.8, "rise": 0.0}},
            "traffic": {"packet": {"base": 1.5, "rise": 0.0}, "flow": {"base": 0.7, "rise": -0.1}},
        },
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


@pytest.fixture(scope="session")
def write_table() -> WriteTable:
    """Write a table of flow features: one row per label, numbers that the label and the row's number decide.

    ``cells`` changes cells by row (from 0) and column, ``lines`` whole lines.
    """

    def write(
        path: Path,
        labels: Sequence[bytes],
        *,
        seed: int = 1,
        header: str = HEADER,
        cells: Mapping[tuple[int, int], bytes] | None = None,
        lines: Mapping[int, bytes] | None = None,
    ) -> Path:
        rng = np.random.default_rng(seed)
        columns = header.count(",")
        rows = []
        for i, label in enumerate(labels):
            level = sum(label) % 97
            fields = [b"%d" % number for number in rng.integers(level, level + 40, columns)]
            fields.append(label)
            for (row, column), cell in (cells or {}).items():
                if row == i:
                    fields[column] = cell
            rows.append((lines or {}).get(i, b",".join(fields)))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"\r\n".join([header.encode(), *rows]) + b"\r\n")
        return path

    return write


@pytest.fixture(scope="session")
def flows_dataset(tmp_path_factory: pytest.TempPathFactory, write_table: WriteTable) -> Path:
    """A dataset folder of 330 rows of flow features in three attack classes, the rarest with 10."""
    from mtc.datasets import build_cicids2017

    folder = tmp_path_factory.mktemp("flows")
    labels = [b"BENIGN"] * 240 + [b"DDoS"] * 80 + [b"Web Attack \x96 XSS"] * 10
    write_table(folder / "Wednesday.csv", labels)
    build_cicids2017(folder / "Wednesday.csv", folder / "dataset")
    return folder / "dataset"


@pytest.fixture(scope="session")
def flows_model(tmp_path_factory: pytest.TempPathFactory, flows_dataset: Path) -> Path:
    """Folder of a run of two short epochs on the dataset of flow features."""
    from mtc.config import load_recipe
    from mtc.datasets import Dataset
    from mtc.training import train

    out = tmp_path_factory.mktemp("flows-model") / "run"
    small = ["model.ffn_width=16", "model.repetitions=[1, 1, 1]", "train.epochs=2"]
    train(load_recipe("cicids2017-mtc", small), Dataset.open(flows_dataset), out)
    return out


@pytest.fixture(scope="session")
def original_header() -> str:
    """The first line of every table of MachineLearningCSV.zip."""
    return HEADER


@pytest.fixture(scope="session")
def tiny_onnx(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny model as ONNX in fp32, and beside it as JSON what its export said."""
    from mtc.inference.export.onnx import export_onnx
    from mtc.models import load_model

    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    with _small_parity_check():
        report = export_onnx(load_model(tiny_model), path)
    path.with_suffix(".json").write_text(json.dumps(report.to_dict()))
    return path


@pytest.fixture(scope="module")
def small_parity_check() -> Iterator[None]:
    """Check an export on no more than one of its largest batches: what is left is the same, and quick."""
    with _small_parity_check():
        yield


@contextmanager
def _small_parity_check() -> Iterator[None]:
    from mtc.inference.export.check import BATCH_SIZES

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mtc.inference.export.check.CHECKED", max(BATCH_SIZES))
        yield
