import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score, roc_curve

from mtc.config import RunConfig
from mtc.datasets import Dataset
from mtc.errors import UsageError
from mtc.evaluation.open_set import GROUPS, HeldOut, _separation, held_out_groups, score_open_set
from mtc.models import load_model
from mtc.tasks import ISCX
from mtc.training import train

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"
SETTINGS = {"model": {"name": "extra-trees", "forest_trees": 10, "leading_bytes": 60}}


def test_groups_are_fixed_and_hold_every_class_once() -> None:
    for classes in ISCX.values():
        groups = held_out_groups(classes)
        assert len(groups) == GROUPS
        assert sorted(label for group in groups for label in group) == sorted(classes)
    assert held_out_groups(ISCX["auxiliary"]) == (
        ("All Chat", "All Torrent"), ("All Email", "All VoIP"), ("All File Transfer",), ("All Streaming",)
    )  # fmt: skip


def test_nothing_of_a_held_out_class_is_trained_on(small_dataset: Path) -> None:
    whole = Dataset.open(small_dataset)
    without = HeldOut(whole, "application", ("Email",))
    place = whole.tasks["application"].index("Email")
    assert without.tasks == whole.tasks
    assert without.hash != whole.hash
    for part in ("train", "validation", "test", "all"):
        samples, there = without.part("flow", part), whole.part("flow", part)
        assert not (samples.labels["application"] == place).any()
        expected = there.row[there.labels["application"] != place]
        np.testing.assert_array_equal(samples.row, expected)
    unknown = without.unknown("flow")
    assert len(unknown) + len(without.part("flow", "all")) == len(whole)
    assert (unknown.labels["application"] == place).all()


def test_what_cannot_be_held_out_is_refused(small_dataset: Path) -> None:
    whole = Dataset.open(small_dataset)
    for task, labels in (("colour", ("red",)), ("traffic", ("red",)), ("auxiliary", ISCX["auxiliary"][1:])):
        with pytest.raises(UsageError):
            HeldOut(whole, task, labels)


def test_scores_are_those_of_the_sureness(small_dataset: Path, tmp_path: Path) -> None:
    without = HeldOut(Dataset.open(small_dataset), "application", ("Email",))
    train(RunConfig.from_dict(SETTINGS), without, tmp_path / "run")
    model = load_model(tmp_path / "run")
    assert "Email" in model.card.absent["application"]
    found = score_open_set(model, without)
    assert found["packet"]["known"] == len(without.part("flow", "test"))
    assert found["packet"]["unknown"] == 80
    assert found["flow"]["unknown"] == 20
    # A payload byte names the class, and Email's lies between those of the two that are known.
    told = found["packet"]["threshold"]
    assert told["accuracy"] == 1.0
    assert told["kept_known"] > 0.5
    for per in found.values():
        for scores in per["scores"].values():
            curve = scores["coverage"]
            assert [row["coverage"] for row in curve] == sorted(row["coverage"] for row in curve)
            assert curve[-1] == {"coverage": 1.0, "accuracy": 1.0, "unknown_kept": curve[-1]["unknown_kept"]}


def test_numbers_equal_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    known, unknown = rng.normal(1, 1, 400), rng.normal(0, 1, 300)
    right = rng.random(400) < 0.8
    found = _separation(known, right, unknown)
    truth, scores = np.repeat([1, 0], [400, 300]), np.concatenate([known, unknown])
    assert found["auroc"] == pytest.approx(roc_auc_score(truth, scores))
    rates = roc_curve(truth, scores, drop_intermediate=False)
    at = np.flatnonzero(rates[1] >= 0.95)[0]
    assert found["fpr_at_95_tpr"] == pytest.approx(rates[0][at])
    half = found["coverage"][4]
    surest = np.argsort(-known)[: round(half["coverage"] * 400)]
    assert half["coverage"] == pytest.approx(0.5, abs=0.01)
    assert half["accuracy"] == pytest.approx(right[surest].mean())
    assert half["unknown_kept"] == pytest.approx((unknown >= known[surest].min()).mean())


def test_the_script_keeps_every_run_and_goes_on(
    small_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import open_set

    module: ModuleType = open_set
    done: list[str] = []

    def counted(config: RunConfig, dataset: HeldOut, folder: Path, *, resume: bool) -> object:
        done.append(folder.name)
        return train(config, dataset, folder, resume=resume)

    monkeypatch.setattr(module, "train", counted)
    call = ["iscx-majority", "--data", str(small_dataset), "--tasks", "application", "--work", str(tmp_path)]
    out = tmp_path / "kept.json"
    assert module.main([*call, "--out", str(out)]) == 0
    kept = json.loads(out.read_text())
    # Of the 17 applications this dataset has three, in two of the groups.
    # Of the 17 applications this dataset has the 1st, the 2nd and the 12th.
    assert [run["group"] for run in kept["runs"]] == [1, 2, 4]
    assert [folder.rpartition("-")[2] for folder in done] == ["1", "2", "4"]
    first = list(done)
    assert module.main([*call, "--out", str(out)]) == 0
    assert done == first
    assert json.loads(out.read_text()) == kept
    mean = kept["mean"]["application"]["flow"]
    assert mean["probability_auroc"] == pytest.approx(0.5)  # it says the same of everything
    with pytest.raises(SystemExit, match="other settings"):
        module.main([*call, "--out", str(out), "--seed", "2"])
    assert module.main([*call, "--out", str(tmp_path / "none.json"), "--budget", "1e-9"]) == 3
