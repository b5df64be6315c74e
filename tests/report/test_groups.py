"""Runs that differ in their seed only stand together; all else is told apart."""

from typing import Any

import numpy as np
import pytest
from report_inputs import result
from scipy import stats

from mtc.report import Run, comparison, comparison_verdicts
from mtc.report.groups import group_runs, honest_split, paper_split, paper_tasks


def _run(name: str, recipe: str, split: str, seed: int, **more: Any) -> Run:
    content = result(recipe, split, seed, **more)
    about = content["run"]
    return Run(name, content, config=about["config"], recipe=about["recipe"], log=about["log"])


def test_seeds_make_a_group_whose_interval_is_students() -> None:
    runs = [_run(f"r{seed}", "iscx-mtc", "flow", seed) for seed in (3, 1, 2)]
    (group,) = group_runs(runs)
    assert (group.model, group.seeds, group.split) == ("MTC", (1, 2, 3), "flow")
    scores = [run.metrics["parts"]["test"]["traffic"]["macro_f1"] for run in runs]
    found = group.score("traffic", "macro_f1")
    assert found is not None
    assert found.half_width is not None
    low, high = stats.t.interval(0.95, 2, loc=np.mean(scores), scale=stats.sem(scores))
    assert (found.mean - found.half_width, found.mean + found.half_width) == pytest.approx((low, high))


def test_other_settings_are_another_model_and_say_which() -> None:
    groups = group_runs(
        [
            _run("a", "iscx-mtc", "flow", 1),
            _run("b", "iscx-mtc", "flow", 2, settings=["model.cnn_pooling=tokens"]),
            _run("c", "iscx-mtc", "packet", 1),
        ]
    )
    assert [(group.model, group.split) for group in groups] == [
        ("MTC (cnn_pooling=global)", "flow"),
        ("MTC (cnn_pooling=tokens)", "flow"),
        ("MTC", "packet"),
    ]
    assert all(group.row is not None and group.row.name == "MTC" for group in groups)


def test_a_setting_that_is_newer_than_a_run_has_its_default() -> None:
    old, new = _run("old", "iscx-mtc", "flow", 1), _run("new", "iscx-mtc", "flow", 2)
    del old.config["train"]["schedule"]  # type: ignore[attr-defined]
    assert len(group_runs([old, new])) == 1


def test_rows_of_the_paper() -> None:
    recipes = ["iscx-cnn", "iscx-mtc-2task", "iscx-transformer", "iscx-mtc"]
    groups = group_runs([_run(recipe, recipe, "packet", 1) for recipe in recipes])
    assert [group.model for group in groups] == ["MTC", "Transformer", "1D-CNN", "MTC-2task"]
    assert [group.place for group in groups] == [0, 1, 2, 3]
    assert (honest_split(groups), paper_split(groups)) == (None, "packet")
    without_recipe = Run("plain", groups[3].runs[0].metrics, config=groups[3].runs[0].config)
    assert group_runs([without_recipe])[0].model == "MTC-2task"  # by its tasks


def test_a_shallow_model_is_one() -> None:
    settings = ["model.name=extra-trees"]
    content = result("iscx-mtc", "flow", 1, settings=settings)
    (group,) = group_runs([Run("trees", content, config=content["run"]["config"])])
    assert group.shallow
    assert group.row is None
    assert group.model == "extra-trees"


def test_foreign_classes_are_not_compared_with_the_paper() -> None:
    content = result("iscx-cnn", "flow", 1)
    mine = content["parts"]["test"]["application"]["per_class"]
    mine["My own program"] = mine.pop("Tor")
    (group,) = group_runs([Run("mine", content, config=content["run"]["config"])])
    assert paper_tasks([group]) == ("traffic", "auxiliary")
    tasks = comparison(list(group.runs))["models"][0]["tasks"]
    assert tasks["application"]["paper"] is None
    assert tasks["traffic"]["paper"] == {"macro_f1": 0.8936, "macro_recall": 0.8895}


def test_folds_of_a_split_make_a_group() -> None:
    runs = [_run(f"f{fold}", "iscx-mtc", f"flow/{fold}", 1, right=0.4 + fold / 20) for fold in range(4)]
    whole = _run("whole", "iscx-mtc", "flow", 1)
    folds, alone = sorted(group_runs([*runs, whole]), key=lambda group: -len(group.runs))
    assert (folds.split, folds.folds, folds.seeds, len(folds.runs)) == ("flow folds", 4, (1,), 4)
    assert (alone.split, alone.folds) == ("flow", 0)
    assert honest_split([folds]) == "flow folds"
    scores = [run.metrics["parts"]["test"]["traffic"]["macro_f1"] for run in runs]
    found = folds.score("traffic", "macro_f1")
    assert found is not None
    assert (found.mean, found.count) == (pytest.approx(np.mean(scores)), 4)
    assert [row["folds"] for row in comparison([*runs, whole])["models"]] == [0, 4]


def test_networks_that_do_not_beat_the_baseline_are_said_not_to() -> None:
    trees = _run("trees", "iscx-gradient-boosting", "flow", 1, right=0.7)
    weak, strong = _run("a", "iscx-cnn", "flow", 1, right=0.5), _run("b", "iscx-mtc", "flow", 1, right=0.9)
    said = comparison_verdicts([trees, weak])
    assert len(said) == 3
    assert all("No network here beats gradient-boosting" in line for line in said)
    said = comparison_verdicts([trees, weak, strong])
    assert all("MTC is" in line and line.endswith(": 1D-CNN.") for line in said)
    assert comparison_verdicts([weak, strong]) == []
