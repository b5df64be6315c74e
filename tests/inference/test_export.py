import json
import runpy
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mtc.config import RunConfig
from mtc.datasets import FEATURES
from mtc.errors import ParityError, UsageError
from mtc.flows import read_samples
from mtc.inference import Classifier
from mtc.inference.export.check import BATCH_SIZES, TOLERANCE, Parity
from mtc.inference.export.onnx import OPSET, export_onnx
from mtc.models import LoadedModel, ModelCard, build_network, load_model, save_model
from mtc.tasks import ISCX

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "onnx_without_torch.py"
MakeModel = Callable[..., Path]

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_parity_check")]


@pytest.fixture(scope="module")
def make_model(tmp_path_factory: pytest.TempPathFactory) -> MakeModel:
    """Folder of an untrained model of packets with the given settings."""

    def make(data: dict[str, Any], **settings: Any) -> Path:
        import torch

        config = RunConfig.from_dict({"data": data, "model": settings})
        tasks = {"application": ISCX["application"]}
        with torch.random.fork_rng():
            torch.manual_seed(0)
            network = build_network(config.model, tasks)
            samples = read_samples(str(Path(EXAMPLE.parents[1], "src/mtc/assets/demo.pcap"))).samples[:200]
            network.prepare(samples.reshape(-1), np.arange(len(samples) + 1) * 1500)
        folder = tmp_path_factory.mktemp("models") / "model"
        save_model(folder, network, ModelCard(tasks=tasks, config=config))
        return folder

    return make


def _outputs(path: Path, name: str, values: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path)
    tasks = [output.name for output in session.get_outputs()]
    return dict(zip(tasks, session.run(tasks, {name: values}), strict=True))


def test_file_says_what_it_is(tiny_onnx: Path) -> None:
    model = onnx.load(tiny_onnx)
    onnx.checker.check_model(model)
    assert [(o.domain, o.version) for o in model.opset_import if o.domain == ""] == [("", OPSET)]
    (samples,) = model.graph.input
    assert samples.name == "samples"
    batch, length = samples.type.tensor_type.shape.dim
    assert batch.dim_param
    assert length.dim_value == 1500
    assert [output.name for output in model.graph.output] == list(ISCX)
    stored = {entry.key: json.loads(entry.value) for entry in model.metadata_props}
    assert {task: tuple(labels) for task, labels in stored["tasks"].items()} == dict(ISCX)
    assert stored["temperatures"]["packet"]["application"] == {"base": 0.5, "rise": 0.2}
    assert stored["temperatures"]["flow"]["auxiliary"] == {"base": 1.0, "rise": 0.0}
    assert stored["absent"]["traffic"] == ["VPN Email"]
    assert stored["mask"] == "paper"
    assert stored["preprocessing"] == ["mask paper", "divide by 255"]
    assert stored["notes"] == ["Untrained."]


def test_report_holds_the_parity_of_every_batch_size(tiny_onnx: Path) -> None:
    report = json.loads(tiny_onnx.with_suffix(".json").read_text())
    assert report["size"] == tiny_onnx.stat().st_size
    assert set(report["parity"]["difference"]) == {str(size) for size in BATCH_SIZES}
    assert max(report["parity"]["difference"].values()) <= TOLERANCE
    assert report["int8_parity"] is None


@pytest.mark.parametrize(
    ("data", "settings"),
    [
        ({"mask": "strict"}, {"name": "transformer", "encoders": 1, "ffn_width": 8}),
        ({}, {"name": "cnn", "channels": [6, 5], "dense_widths": [9, 7]}),
        ({"mask": "strict"}, {"name": "fields", "members": 2, "leading_bytes": 90, "dense_widths": [9, 7]}),
    ],
    ids=lambda value: value.get("name") if isinstance(value, dict) else None,
)
def test_every_network_takes_raw_samples(
    make_model: MakeModel, data: dict[str, Any], settings: dict[str, Any], short_capture: Path, tmp_path: Path
) -> None:
    folder = make_model(data, **settings)
    report = export_onnx(load_model(folder), tmp_path / "m.onnx", int8=settings["name"] == "fields")
    assert report.parity.holds
    if report.int8_parity is not None:
        assert report.int8_parity.agreement["application"] > 0.5
        return
    samples = read_samples(str(short_capture)).samples
    logits = _outputs(tmp_path / "m.onnx", "samples", samples)["application"].astype(np.float64)
    odds = np.exp(logits - logits.max(1, keepdims=True))
    expected = Classifier.load(folder, precision="exact").predict(samples)["application"]
    np.testing.assert_allclose(odds / odds.sum(1, keepdims=True), expected, atol=TOLERANCE, rtol=0)


def test_flow_features_are_scaled_inside(flows_model: Path, tmp_path: Path) -> None:
    report = export_onnx(load_model(flows_model), tmp_path / "flows.onnx")
    assert report.parity.holds
    rng = np.random.default_rng(3)
    values = rng.lognormal(4, 2, (40, len(FEATURES))).astype(np.float32)
    values[0, :5] = [np.nan, np.inf, -np.inf, -1, 0]
    found = _outputs(tmp_path / "flows.onnx", "features", values)
    classifier = Classifier.load(flows_model, precision="exact")
    for task, expected in classifier.predict(values).items():
        temperature = classifier.model.temperatures("packet")[task]
        known = np.exp(temperature.log_probabilities(found[task], classifier.model.absent[task]))
        np.testing.assert_allclose(known, expected, atol=2e-5, rtol=0)


def test_example_gives_the_verdicts_of_the_package_without_torch(
    tiny_onnx: Path, tiny_model: Path, short_capture: Path
) -> None:
    program = f"import runpy, sys; sys.argv = ['x', {str(tiny_onnx)!r}, {str(short_capture)!r}]; "
    program += f"runpy.run_path({str(EXAMPLE)!r}, run_name='__main__'); assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    read = read_samples(str(short_capture))
    assert [row["packet"] for row in rows] == read.headers["packet"].tolist()
    expected = Classifier.load(tiny_model, precision="exact").predict(read.samples)
    for task, labels in ISCX.items():
        best = expected[task].max(1)
        assert [row[task]["confidence"] for row in rows] == pytest.approx(best.tolist(), abs=2e-4)
        for row, label, probabilities in zip(rows, expected[task].argmax(1), expected[task], strict=True):
            runner_up = np.sort(probabilities)[-2]
            assert row[task]["label"] == labels[label] or probabilities.max() - runner_up < 1e-5


def test_example_tells_how_it_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["example"])
    with pytest.raises(SystemExit, match="usage"):
        runpy.run_path(str(EXAMPLE), run_name="__main__")


def test_shallow_models_are_refused(tmp_path: Path) -> None:
    config = RunConfig.from_dict({"model": {"name": "majority"}})
    model = LoadedModel(build_network(config.model, ISCX), ModelCard(tasks=dict(ISCX), config=config), {})
    with pytest.raises(UsageError, match="majority has no layers to export"):
        export_onnx(model, tmp_path / "m.onnx")


def test_tells_which_library_is_missing(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "onnxscript"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [_Absent(), *sys.meta_path])
    with pytest.raises(UsageError, match=r"onnxscript: pip install 'mtc-traffic\[onnx\]'"):
        export_onnx(load_model(tiny_model), tmp_path / "m.onnx")


class _Absent:
    """Finds onnxscript nowhere."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.partition(".")[0] == "onnxscript":
            raise ImportError(name)


def test_parity_that_does_not_hold_is_an_error() -> None:
    parity = Parity(3, {1: 0.0, 17: 0.25}, {"application": 0.5})
    assert not parity.holds
    with pytest.raises(ParityError, match=r"2\.5e-01 .* batches of 17"):
        parity.require()
    assert ParityError.exit_status == 1
