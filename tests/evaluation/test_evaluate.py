import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import f1_score

from mtc.config import RunConfig
from mtc.datasets import Dataset
from mtc.errors import ModelError, UsageError
from mtc.evaluation import evaluate
from mtc.inference import FlowAggregator
from mtc.metrics import score
from mtc.models import load_model, predict_logits
from mtc.training import train
from mtc.training.scoring.scores import flows_by_capture

SETTINGS = {
    "model": {"tokens": 5, "width": 20, "heads": 2, "ffn_width": 16, "repetitions": [1, 1, 1]},
    "train": {"epochs": 2, "batch_size": 32},
}


@pytest.fixture(scope="module")
def run(small_dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    out = tmp_path_factory.mktemp("runs") / "run"
    train(RunConfig.from_dict(SETTINGS), Dataset.open(small_dataset), out)
    torch.set_num_threads(before)
    return out


@dataclasses.dataclass
class Relabelled:
    """A dataset whose classes are named, ordered or hidden otherwise."""

    dataset: Dataset
    tasks: dict[str, tuple[str, ...]]
    hash: str = "other"

    def __getattr__(self, name: str) -> Any:
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def part(self, split: str, part: str, *, mask: Any = "paper") -> Any:
        samples = self.dataset.part(split, part, mask=mask)
        return dataclasses.replace(samples, labels=self._relabelled(samples.labels))

    def columns(self, *names: str) -> dict[str, np.ndarray]:
        columns = self.dataset.columns(*names)
        return columns | self._relabelled({name: columns[name] for name in names if name in self.tasks})

    def _relabelled(self, labels: Any) -> dict[str, np.ndarray]:
        found = {}
        for task, classes in self.tasks.items():
            place = {label: i for i, label in enumerate(classes)}
            names = self.dataset.tasks[task]
            found[task] = np.array([-1 if i < 0 else place.get(names[i], -1) for i in labels[task]])
        return found


def test_the_default_is_the_runs_own_test_part(run: Path) -> None:
    told = json.loads((run / "metrics.json").read_text())
    scored = evaluate(run)
    assert scored["parts"] == {"test": told["parts"]["test"]}
    assert scored["flow_parts"] == {"test": told["flow_parts"]["test"]}
    assert scored["unknown_classes"] == {}
    assert scored["left_out_tasks"] == []


def test_all_of_another_dataset(run: Path, small_dataset: Path) -> None:
    dataset = Dataset.open(small_dataset)
    other = Relabelled(dataset, dict(dataset.tasks))
    assert list(evaluate(run, dataset)["parts"]) == ["test"]
    assert list(evaluate(run, other)["parts"]) == ["all"]
    assert list(evaluate(run, other, "train")["parts"]) == ["train"]
    assert evaluate(run, other)["parts"]["all"]["traffic"]["support"] == len(dataset)


def test_the_scores_are_those_of_the_predictions(run: Path, small_dataset: Path) -> None:
    samples = Dataset.open(small_dataset).part("flow", "test")
    logits = predict_logits(load_model(run).network, samples.data, samples.offsets)["traffic"]
    absent = load_model(run).absent["traffic"]
    logits[:, absent] = -np.inf
    labels = samples.labels["traffic"]
    expected = f1_score(labels, logits.argmax(1), labels=np.unique(labels), average="macro")
    assert evaluate(run)["parts"]["test"]["traffic"]["macro_f1"] == pytest.approx(expected)


def test_classes_are_matched_by_label_not_by_index(run: Path, small_dataset: Path) -> None:
    dataset = Dataset.open(small_dataset)
    turned = Relabelled(dataset, {task: classes[::-1] for task, classes in dataset.tasks.items()})
    assert evaluate(run, turned, "test")["parts"] == evaluate(run)["parts"]


def test_hidden_classes_are_scored_without(run: Path, small_dataset: Path) -> None:
    dataset = Dataset.open(small_dataset)
    shown = {task: tuple(c for c in classes if c != "Email") for task, classes in dataset.tasks.items()}
    scores = evaluate(run, Relabelled(dataset, shown), "all")["parts"]["all"]["application"]
    assert scores["support"] == 160
    assert scores["per_class"]["Email"]["support"] == 0
    assert scores["classes"] == 2


def test_a_class_that_the_model_does_not_know_is_never_predicted(run: Path, small_dataset: Path) -> None:
    dataset = Dataset.open(small_dataset)
    labels = dataset.tasks["application"]
    renamed = tuple("Wire" if label == "Email" else label for label in labels)
    other = Relabelled(dataset, dict(dataset.tasks))
    other.part = lambda *a, **k: dataset.part(*a, **k)  # type: ignore[method-assign]
    other.tasks = {"application": renamed}
    scored = evaluate(run, other, "all")
    assert scored["unknown_classes"] == {"application": ["Wire"]}
    row = scored["parts"]["all"]["application"]["per_class"]["Wire"]
    assert row == {"f1": 0.0, "recall": 0.0, "precision": 0.0, "support": 80}
    assert scored["left_out_tasks"] == ["auxiliary", "traffic"]


def test_without_a_common_task_there_is_nothing_to_score(run: Path, small_dataset: Path) -> None:
    dataset = Dataset.open(small_dataset)
    other = Relabelled(dataset, {"colour": ("red",)})
    with pytest.raises(UsageError, match="no task in common"):
        evaluate(run, other)


def test_flows_are_judged_as_classify_judges_them(run: Path, small_dataset: Path) -> None:
    samples = Dataset.open(small_dataset).part("flow", "all")
    model = load_model(run)
    votes = FlowAggregator(model, precision="exact")
    _, flow = np.unique(flows_by_capture(samples), return_inverse=True)
    votes.add(samples.dense()[:, : model.card.config.model.length], flow)
    seen, _, probabilities, _ = votes.result(flow.max() + 1)
    scored = evaluate(run, part="all")["flow_parts"]["all"]
    for task, classes in model.card.tasks.items():
        labels = np.full(len(seen), -1)
        labels[flow] = samples.labels[task]  # all packets of a flow of a capture have the same
        expected = score(labels, probabilities[task], classes)
        for name in ("macro_f1", "macro_recall", "accuracy", "ece", "support"):
            assert scored[task][name] == pytest.approx(expected[name], abs=1e-6)


def test_progress_counts_every_sample(run: Path) -> None:
    calls: list[tuple[int, int]] = []
    scored = evaluate(run, progress=lambda done, total: calls.append((done, total)))
    support = scored["parts"]["test"]["traffic"]["support"]
    assert sum(done for done, _ in calls) == support
    assert {total for _, total in calls} == {support}


def test_a_folder_without_a_model_is_refused(tmp_path: Path, small_dataset: Path) -> None:
    for wrong in (tmp_path, tmp_path / "missing", "no-such-bundled-model"):
        with pytest.raises(ModelError):
            evaluate(wrong, Dataset.open(small_dataset))
