"""A model as one ONNX file: raw samples or raw flow features in, logits of each task out."""

import json
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mtc.datasets.flow_features.features import FEATURES, positions
from mtc.errors import OutputError, UsageError
from mtc.extras import need
from mtc.inference.export.check import Parity, check_parity, example_inputs
from mtc.inference.export.inputs import SampleFields, ScaledFeatures, ScaledSamples
from mtc.models import LoadedModel
from mtc.models.fields.inputs import FieldBatch
from mtc.models.fields.network import Fields
from mtc.models.flow_scores import FLOW_PACKETS
from mtc.models.registry import SHALLOW
from mtc.packets import SAMPLE_LENGTH

if TYPE_CHECKING:
    from collections.abc import Iterator

OPSET = 23
"""Version of ONNX's operators: the newest that PyTorch writes."""

QUANTIZED = ("MatMul", "Gemm")
"""Operators whose weights become int8: onnxruntime's dynamic quantization makes convolutions slower."""

INPUT = {True: "features", False: "samples"}
"""Name of the graph's input, by whether the model reads flow features."""


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What was written, and how it compares with the model that it was made of.

    Attributes:
        size: Bytes of the file.
        opset: Version of ONNX's operators.
        int8: Whether weights of matrix products are int8.
        parity: Of the fp32 file, at several batch sizes; it holds, or nothing is written.
        int8_parity: Of the int8 file, where that was asked for: measured, and not required.
    """

    size: int
    opset: int
    int8: bool
    parity: Parity
    int8_parity: Parity | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, fit for JSON."""
        quantized = None if self.int8_parity is None else self.int8_parity.to_dict()
        return {
            "size": self.size,
            "opset": self.opset,
            "int8": self.int8,
            "parity": self.parity.to_dict(),
            "int8_parity": quantized,
        }


class ExportedGraph(nn.Module):
    """What the file holds: preprocessing, then the network."""

    def __init__(self, model: LoadedModel) -> None:
        """Args: the model.

        Raises:
            UsageError: It is shallow, or reads neither packets nor CICFlowMeter's features.
        """
        super().__init__()
        config = model.card.config
        if config.model.name in SHALLOW:
            raise UsageError(f"a model of the kind {config.model.name} has no layers to export to ONNX")
        if model.scaler is None and config.model.length != SAMPLE_LENGTH:
            raise UsageError(f"the model reads {config.model.length} values, not packets of {SAMPLE_LENGTH}")
        network = model.network
        self.inputs: nn.Module
        if model.scaler is not None:
            self.inputs = ScaledFeatures(model.scaler, positions(tuple(model.card.features)))
        elif isinstance(network, Fields):
            self.inputs = SampleFields(config.data.mask, network.places)
        else:
            self.inputs = ScaledSamples(config.data.mask)
        self.network = network

    def forward(self, samples: Tensor) -> tuple[Tensor, ...]:
        """uint8 (N, 1500) or float32 (N, 78) -> logits of each task, float32 (N, classes)."""
        read = self.inputs(samples)
        if isinstance(self.network, Fields) and not isinstance(read, FieldBatch):
            read = _numbers_alone(read)
        return tuple(self.network(read).values())


def export_onnx(model: LoadedModel, path: Path, *, int8: bool = False) -> ExportReport:
    """Write a model as ONNX, and run the file in onnxruntime beside the model.

    The input is ``samples``, uint8 (N, 1500), as ``mtc.read_samples`` gives them (the graph masks and
    scales them), or ``features``, float32 (N, 78), in CICFlowMeter's order. An output a task, named as
    the task is, holds its logits, float32 (N, classes). N is free. ``metadata`` says what else is stored.

    Args:
        model: A network; shallow models have no such form.
        path: The file, which is replaced.
        int8: Store the weights of matrix products as int8 (onnxruntime's dynamic quantization).

    Raises:
        UsageError: The model has no such form, or a library is missing.
        ParityError: The file does not give what the model gives; nothing is written.
        OutputError: The file cannot be written.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        need(name, extra="onnx")
    graph = ExportedGraph(model).eval()
    inputs = example_inputs(model)
    with TemporaryDirectory(prefix="mtc-export-") as folder:
        exact, reduced = Path(folder) / "exact.onnx", Path(folder) / "int8.onnx"
        _write(graph, model, exact, torch.from_numpy(inputs[:2]))
        parity = check_parity(exact, model, inputs)
        parity.require()
        int8_parity = None
        if int8:
            _quantize(exact, reduced)
            int8_parity = check_parity(reduced, model, inputs)
        content = (reduced if int8 else exact).read_bytes()
    try:
        path.write_bytes(content)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written ({error.strerror or error})") from error
    return ExportReport(len(content), OPSET, int8, parity, int8_parity)


def metadata(model: LoadedModel) -> dict[str, str]:
    """What the file says of itself besides the graph, each value JSON.

    Keys: ``tasks`` (task -> classes, in the order of the outputs), ``temperatures`` (task -> ``packet`` and
    ``flow``: logits are divided by it), ``absent`` (task -> classes whose probability is 0), ``mask``,
    ``preprocessing`` (what the graph does to its input), ``features`` (of flow features, the names of the
    input's columns), ``flow_packets`` (how many packets of a flow make its verdict), ``model``,
    ``dataset``, ``notes``, ``mtc_version``.
    """
    card = model.card
    if model.scaler is not None:
        steps = [f"choose {len(card.features)} of {len(FEATURES)} features", "quantiles to [0, 1]"]
    else:
        steps = [f"mask {card.config.data.mask}", "divide by 255"]
        if isinstance(model.network, Fields):
            steps[1] = f"{model.network.places} leading bytes as categories, header fields as numbers"
    values: dict[str, Any] = {
        "tasks": {task: list(classes) for task, classes in card.tasks.items()},
        "temperatures": {
            "packet": {task: asdict(found) for task, found in model.temperatures("packet").items()},
            "flow": {task: asdict(found) for task, found in model.temperatures("flow").items()},
        },
        "absent": {task: list(classes) for task, classes in card.absent.items()},
        "mask": card.config.data.mask if model.scaler is None else None,
        "preprocessing": steps,
        "features": list(FEATURES) if model.scaler is not None else None,
        "flow_packets": FLOW_PACKETS,
        "model": card.config.model.name,
        "dataset": dict(card.dataset),
        "notes": list(card.notes),
        "mtc_version": card.mtc_version,
    }
    return {key: json.dumps(value) for key, value in values.items()}


def _numbers_alone(numbers: Tensor) -> FieldBatch:
    return FieldBatch(numbers[:, :0].to(torch.int64), numbers, torch.ones_like(numbers))


def _write(graph: ExportedGraph, model: LoadedModel, path: Path, example: Tensor) -> None:
    reads_features = model.scaler is not None
    with quiet():
        program = torch.onnx.export(
            graph,
            (example,),
            dynamo=True,
            opset_version=OPSET,
            input_names=[INPUT[reads_features]],
            output_names=list(model.network.classes),
            dynamic_shapes={"samples": {0: torch.export.Dim("batch")}},
            external_data=False,
            verbose=False,
        )
        assert program is not None
        program.model.metadata_props.update(metadata(model))
        program.model.producer_name, program.model.producer_version = "mtc", model.card.mtc_version
        program.save(path)


def _quantize(exact: Path, reduced: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(exact)
    # Header fields are sums of whole numbers in double precision, which int8 would ruin.
    double = {array.name for array in model.graph.initializer if array.data_type == onnx.TensorProto.DOUBLE}
    kept = [node.name for node in model.graph.node if double & set(node.input)]
    with quiet():
        quantize_dynamic(
            exact,
            reduced,
            op_types_to_quantize=list(QUANTIZED),
            nodes_to_exclude=kept,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )


@contextmanager
def quiet() -> "Iterator[None]":
    """Keep the exporters' own remarks, meant for their developers, to themselves."""
    import logging

    names = ("onnxscript", "onnx_ir", "torch.onnx", "root")
    loggers = [logging.getLogger(name if name != "root" else None) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
