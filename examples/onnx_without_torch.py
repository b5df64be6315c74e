"""Classify the packets of a capture with an exported model, without PyTorch.

    mtc export iscx --out iscx.onnx
    python examples/onnx_without_torch.py iscx.onnx capture.pcap

Needs numpy, onnxruntime, and what reads captures (mtc.packets); no part of PyTorch is imported. The
model masks and scales the samples itself, and its metadata say the rest.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime

import mtc

DEMO = Path(mtc.__file__).parent / "assets" / "demo.pcap"
BATCH = 64


class ExportedModel:
    """A model that ``mtc export`` wrote."""

    def __init__(self, path: str) -> None:
        """Open the file."""
        self.session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        metadata = self.session.get_modelmeta().custom_metadata_map
        self.tasks = json.loads(metadata["tasks"])
        self.temperatures = json.loads(metadata["temperatures"])["packet"]
        self.absent = json.loads(metadata["absent"])

    def predict(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        """Calibrated probabilities of packets: uint8 (N, 1500) -> task -> float32 (N, classes)."""
        parts = [self._batch(samples[i : i + BATCH]) for i in range(0, len(samples), BATCH)]
        return {task: np.concatenate([part[task] for part in parts]) for task in self.tasks}

    def _batch(self, samples: np.ndarray) -> dict[str, np.ndarray]:
        logits = self.session.run(list(self.tasks), {"samples": samples})
        return {
            task: self._probabilities(task, values) for task, values in zip(self.tasks, logits, strict=True)
        }

    def _probabilities(self, task: str, logits: np.ndarray) -> np.ndarray:
        scaled = logits.astype(np.float64)
        # What had no training sample is never predicted.
        scaled[:, [label in self.absent.get(task, ()) for label in self.tasks[task]]] = -np.inf
        # The temperature rises with the entropy.
        before = softmax(scaled)
        entropy = -(before * np.log(np.maximum(before, 1e-300))).sum(1, keepdims=True)
        temperature = self.temperatures[task]
        scaled /= temperature["base"] * np.exp(temperature["rise"] * entropy)
        return softmax(scaled).astype(np.float32)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row by row."""
    odds = np.exp(logits - logits.max(1, keepdims=True))
    return odds / odds.sum(1, keepdims=True)


def verdicts(model: ExportedModel, capture: str) -> Iterator[dict[str, object]]:
    """One for each packet that counts: its number in the capture, and label and confidence by task."""
    for part in mtc.iter_samples(capture):
        if not len(part):
            continue
        found = model.predict(part.samples)
        for i, number in enumerate(part.headers["packet"]):
            row: dict[str, object] = {"packet": int(number)}
            for task, labels in model.tasks.items():
                best = int(found[task][i].argmax())
                row[task] = {"label": labels[best], "confidence": round(float(found[task][i, best]), 4)}
            yield row


def main() -> None:
    """Print a JSON line for each packet; without a capture, of the bundled one."""
    if len(sys.argv) not in (2, 3):
        sys.exit(f"usage: {sys.argv[0]} MODEL.onnx [CAPTURE]")
    model = ExportedModel(sys.argv[1])
    for row in verdicts(model, sys.argv[2] if len(sys.argv) == 3 else str(DEMO)):
        print(json.dumps(row))


if __name__ == "__main__":
    main()
