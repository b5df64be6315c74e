"""What lies in the folder of a run, and when it may be written."""

import csv
import io
import json
import resource
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mtc.config import RunConfig
from mtc.errors import DatasetError, InputError, OutputError, UsageError
from mtc.models import load_model
from mtc.training import train
from mtc.training.callbacks import EpochLines
from mtc.training.run_folder import CHECKPOINTS, FILES, TENSORBOARD, AtomicCheckpointIO, read_checkpoint

pytestmark = pytest.mark.slow


def test_writes_what_a_run_holds_and_nothing_else(undisturbed: Path, config: RunConfig) -> None:
    names = {path.name for path in undisturbed.iterdir()}
    assert names == {*FILES, CHECKPOINTS, TENSORBOARD}
    assert RunConfig.from_dict(json.loads((undisturbed / "config.json").read_text())) == config
    assert {path.name for path in (undisturbed / "checkpoints").iterdir()} == {"best.ckpt", "last.ckpt"}


def test_metrics_have_the_documented_keys(undisturbed: Path) -> None:
    metrics = json.loads((undisturbed / "metrics.json").read_text())
    assert {"protocol", "seed", "dataset", "epochs", "train_samples_per_s", "parts"} <= metrics.keys()
    assert metrics["protocol"] == "flow"
    assert metrics["epochs"] == 2
    for parts in (metrics["parts"], metrics["flow_parts"]):
        assert parts.keys() == {"validation", "test"}
        task = parts["test"]["application"]
        assert {
            "macro_f1",
            "macro_recall",
            "accuracy",
            "ece",
            "support",
            "classes",
            "per_class",
        } <= task.keys()
        assert task["classes"] == 2
    assert metrics["flow_parts"]["test"]["application"]["support"] < 50


def test_the_model_file_knows_what_it_never_saw(undisturbed: Path) -> None:
    model = load_model(undisturbed)
    assert model.card.absent["application"] == ["never"]
    assert model.absent["application"].tolist() == [2]
    assert model.card.calibration.keys() == {"application", "traffic"}
    assert all(t["packet"]["base"] > 0 and t["flow"]["base"] > 0 for t in model.card.calibration.values())
    assert model.card.training["ended"] == "epochs"


def test_an_existing_folder_is_refused(undisturbed: Path, config: RunConfig, dataset: Any) -> None:
    before = (undisturbed / "metrics.json").read_bytes()
    with pytest.raises(OutputError, match="--resume"):
        train(config, dataset, undisturbed)
    assert (undisturbed / "metrics.json").read_bytes() == before


def test_force_replaces_a_run_but_nothing_else(config: RunConfig, dataset: Any, tmp_path: Path) -> None:
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not a run"):
        train(config, dataset, tmp_path / "letters", force=True)
    with pytest.raises(UsageError, match="not a run"):
        train(config, dataset, tmp_path / "letters", resume=True)
    assert [path.name for path in (tmp_path / "letters").iterdir()] == ["dear.txt"]


def test_resume_refuses_other_settings_and_other_data(
    undisturbed: Path, settings: dict, config: RunConfig, dataset: Any
) -> None:
    other = RunConfig.from_dict(settings | {"train": settings["train"] | {"learning_rate": 0.1}})
    with pytest.raises(UsageError, match=r"train\.learning_rate"):
        train(other, dataset, undisturbed, resume=True)
    foreign = type(dataset)(hash="1" * 64)
    with pytest.raises(UsageError, match="another dataset"):
        train(config, foreign, undisturbed, resume=True)


def test_a_dataset_without_labels_is_refused(config: RunConfig, dataset: Any, tmp_path: Path) -> None:
    unlabelled = type(dataset)(tasks={})
    with pytest.raises(DatasetError, match="no sample"):
        train(config, unlabelled, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_task_without_labels_is_left_out(config: RunConfig, dataset: Any, tmp_path: Path) -> None:
    more = type(dataset)(tasks=dataset.tasks | {"colour": ("red", "blue")})
    for samples in more.parts.values():
        samples.labels["colour"] = np.full(len(samples), -1)
    assert train(config, more, tmp_path / "run")["parts"]["test"].keys() == {"application", "traffic"}
    assert "colour: no label in the training part, not learned." in load_model(tmp_path / "run").card.notes


def test_one_plain_line_an_epoch(config: RunConfig, dataset: Any, tmp_path: Path, capfd: Any) -> None:
    lines = io.StringIO()
    train(config, dataset, tmp_path / "run", callbacks=[EpochLines(lines)])
    written = lines.getvalue().splitlines()
    assert [line.split("  ")[0] for line in written] == ["epoch 1/2", "epoch 2/2"]
    assert all("macro F1" in line for line in written)
    assert capfd.readouterr() == ("", "")  # nothing else is printed


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    store, place = AtomicCheckpointIO(), tmp_path / "last.ckpt"
    store.save_checkpoint({"epoch": 1}, place)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))  # a larger file cannot be written
    try:
        with pytest.raises(OutputError, match="cannot be written"):
            store.save_checkpoint({"epoch": 2, "weights": torch.ones(10_000)}, place)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert read_checkpoint(place) == {"epoch": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.ckpt"]


def test_tensorboard_shows_the_history(undisturbed: Path) -> None:
    from tensorboardX.proto.event_pb2 import Event

    shown: dict[str, dict[int, float]] = {}
    for path in (undisturbed / TENSORBOARD).iterdir():
        for record in records(path.read_bytes()):
            event = Event.FromString(record)
            for value in event.summary.value:
                shown.setdefault(value.tag, {})[event.step] = value.simple_value
    rows = list(csv.DictReader(io.StringIO((undisturbed / "epochs.csv").read_text())))
    for tag, column in (("loss/validation", "validation_loss"), ("f1/traffic", "validation_f1_traffic")):
        assert shown[tag] == pytest.approx({int(row["step"]): float(row[column]) for row in rows}, rel=1e-6)
    assert shown["loss/step"].keys() == {10}
    assert {"loss/train", "f1/mean", "f1/application", "run/learning_rate"} <= shown.keys()


def records(log: bytes) -> Any:
    """Of a file of events: length (8 bytes) and its checksum (4), the record and its checksum (4)."""
    while log:
        length = int.from_bytes(log[:8], "little")
        yield log[12 : 12 + length]
        log = log[16 + length :]


def test_a_checkpoint_is_data_never_code(tmp_path: Path) -> None:
    torch.save({"state_dict": Path("/")}, tmp_path / "last.ckpt")
    with pytest.raises(InputError, match="not a readable checkpoint"):
        read_checkpoint(tmp_path / "last.ckpt")
