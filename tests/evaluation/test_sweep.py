"""A sweep does every run once, whatever happens in between, and its table is that of its runs."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from mtc.config import RunConfig
from mtc.errors import ConfigError, OutputError, UsageError
from mtc.evaluation import sweep as sweep_module
from mtc.evaluation.paired import estimate
from mtc.evaluation.sweep import run_sweep
from mtc.evaluation.sweep_recipe import load_sweep, point_text, sweep_names, toml_text

pytest.importorskip("optuna")

pytestmark = pytest.mark.slow

RECIPE = """
title = "two sizes"
base = "iscx-mtc"
settings = ["train.epochs=3"]
seeds = [1, 2]
[grid]
"model.cnn_dropout" = [0.05, 0.07]
"loss.weights" = [{ application = 3.0, traffic = 1.0 }]
[[paper]]
at = { "model.cnn_dropout" = 0.07, "loss.weights" = { application = 3.0, traffic = 1.0 } }
application = [98.25, 98.30]
"""


def metrics_of(config: RunConfig) -> dict[str, Any]:
    """Scores that dropout and seed decide."""
    score = config.model.cnn_dropout * 10 + config.seed / 100
    task = {"macro_f1": score, "macro_recall": score / 2}
    parts = {part: {"application": task} for part in ("validation", "test")}
    return {"protocol": "flow", "seed": config.seed, "dataset": {}, "parts": parts, "flow_parts": parts}


class FakeRuns:
    """Stands for ``mtc.training.train``: keeps its calls, and may be told to fail or break off."""

    def __init__(self) -> None:
        self.done: list[tuple[float, int]] = []
        self.before: Callable[[tuple[float, int]], None] = lambda run: None

    def train(self, config: RunConfig, dataset: Any, out: Path, **_: Any) -> dict[str, Any]:
        run = (config.model.cnn_dropout, config.seed)
        self.before(run)
        self.done.append(run)
        assert config.train.epochs == 3
        assert config.loss.weights == {"application": 3.0, "traffic": 1.0}
        out.mkdir(parents=True)
        (out / "metrics.json").write_text(json.dumps(metrics_of(config)))
        return metrics_of(config)


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "two.toml").write_text(RECIPE)
    return tmp_path / "two.toml"


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRuns:
    runs = FakeRuns()
    monkeypatch.setattr(sweep_module, "train", runs.train)
    return runs


def test_every_run_once_seed_by_seed(recipe: Path, fake: FakeRuns, tmp_path: Path) -> None:
    table = run_sweep(load_sweep(recipe), None, tmp_path / "out")
    assert sorted(fake.done) == [(0.05, 1), (0.05, 2), (0.07, 1), (0.07, 2)]
    assert [seed for _, seed in fake.done] == [1, 1, 2, 2]
    low, high = table["points"]
    assert low["settings"]["model.cnn_dropout"] == 0.05
    assert low["parts"]["application"]["macro_f1"] == {
        "mean": pytest.approx(0.515),
        "half_width": pytest.approx(12.7062 * 0.005, rel=1e-4),  # t(0.975, 1) s / sqrt 2, s = 0.01 / sqrt 2
        "count": 2,
    }
    assert table["best"] == 1
    assert high["paper"] == {"application": {"macro_f1": 0.9825, "macro_recall": 0.983}}
    assert low["paper"] == {}
    assert json.loads((tmp_path / "out" / "sweep.json").read_text()) == table


def test_csv_has_a_row_for_point_task_and_kind(recipe: Path, fake: FakeRuns, tmp_path: Path) -> None:
    run_sweep(load_sweep(recipe), None, tmp_path / "out")
    head, *rows = (tmp_path / "out" / "sweep.csv").read_text().splitlines()
    assert head.split(",")[:6] == ["point", "task", "per", "seeds", "macro_f1", "macro_f1_half_width"]
    assert len(rows) == 4
    assert rows[2].startswith('"cnn_dropout=0.07, weights=3:1",application,packet,2,0.715')
    assert rows[2].endswith(",0.9825,0.983")
    assert rows[3].endswith(",,")


@pytest.mark.parametrize("stop", [(0.05, 1), (0.07, 2)])
def test_resumed_sweep_does_only_what_is_left(
    stop: tuple[float, int], recipe: Path, fake: FakeRuns, tmp_path: Path
) -> None:
    def break_off(run: tuple[float, int]) -> None:
        if run == stop:
            raise KeyboardInterrupt

    fake.before = break_off
    with pytest.raises(KeyboardInterrupt):
        run_sweep(load_sweep(recipe), None, tmp_path / "out")
    assert stop not in fake.done
    fake.before = lambda run: None
    with pytest.raises(OutputError, match="--resume"):
        run_sweep(load_sweep(recipe), None, tmp_path / "out")
    table = run_sweep(load_sweep(recipe), None, tmp_path / "out", resume=True)
    assert sorted(fake.done) == [(0.05, 1), (0.05, 2), (0.07, 1), (0.07, 2)]
    more = run_sweep(load_sweep(recipe, seeds=[1, 2, 3]), None, tmp_path / "out", resume=True)
    assert [point["seeds"] for point in table["points"]] == [[1, 2]] * 2
    assert [point["seeds"] for point in more["points"]] == [[1, 2, 3]] * 2
    assert len(fake.done) == 6


def test_a_failed_run_is_told_and_tried_again(recipe: Path, fake: FakeRuns, tmp_path: Path) -> None:
    def fail(run: tuple[float, int]) -> None:
        if run == (0.07, 1):
            raise UsageError("the loss became nan")

    fake.before = fail
    table = run_sweep(load_sweep(recipe), None, tmp_path / "out")
    assert table["points"][1]["failed"] == {"1": "the loss became nan"}
    assert table["points"][1]["seeds"] == [2]
    fake.before = lambda run: None
    table = run_sweep(load_sweep(recipe), None, tmp_path / "out", resume=True)
    assert table["points"][1]["failed"] == {}
    assert len(fake.done) == 4


def test_other_settings_and_foreign_folders_are_refused(recipe: Path, fake: FakeRuns, tmp_path: Path) -> None:
    run_sweep(load_sweep(recipe), None, tmp_path / "out")
    with pytest.raises(UsageError, match="other settings"):
        run_sweep(load_sweep(recipe, ["train.batch_size=64"]), None, tmp_path / "out", resume=True)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("keep me")
    with pytest.raises(OutputError, match="not a sweep"):
        run_sweep(load_sweep(recipe), None, tmp_path / "letters", resume=True)


def test_a_plain_recipe_is_swept_over_seeds_and_what_is_asked(fake: FakeRuns, tmp_path: Path) -> None:
    settings = ["train.epochs=3", "loss.weights={application = 3.0, traffic = 1.0}"]
    only_seeds = load_sweep("iscx-mtc", settings, seeds=[5, 6])
    assert [dict(point) for point in only_seeds.points()] == [{}]
    table = run_sweep(only_seeds, None, tmp_path / "seeds")
    assert fake.done == [(0.07, 5), (0.07, 6)]
    assert table["points"][0]["seeds"] == [5, 6]
    varied = load_sweep("iscx-mtc", settings, over=["model.cnn_dropout=[0.1, 0.2]", 'data.mask=["paper"]'])
    assert [point_text(point) for point in varied.points()] == [
        "cnn_dropout=0.1, mask=paper", "cnn_dropout=0.2, mask=paper"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cnn_dropout": "cnn_dropuot"}, "unknown setting model.cnn_dropuot"),
        ({"0.07]": "1.5]"}, r"must lie in \[0, 1\)"),
        ({"seeds = [1, 2]": "seeds = [1, 1]"}, "twice"),
        ({"title": "titel"}, "unknown keys of a sweep: titel"),
        ({"[0.05, 0.07]": "[]"}, "needs a value"),
        ({"[0.05, 0.07]": "0.05"}, "not a sweep"),
    ],
)
def test_a_wrong_recipe_is_refused_before_any_run(change: dict[str, str], message: str, recipe: Path) -> None:
    text = RECIPE
    for old, new in change.items():
        assert old in text
        text = text.replace(old, new, 1)
    recipe.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_sweep(recipe)


@pytest.mark.parametrize("over", ["model.heads", "model.heads=5", "=[1]", "model.heads=[1"])
def test_a_wrong_axis_is_refused(over: str) -> None:
    with pytest.raises(ConfigError, match="--over takes"):
        load_sweep("iscx-mtc", over=[over])


def test_shipped_sweeps_are_the_papers_tables() -> None:
    bases = {
        "iscx-repetitions": (4, {"cnn_dropout": 0.05}, 4.0),
        "iscx-loss-weights": (5, {"repetitions": (1, 5, 6), "cnn_dropout": 0.05}, 3.0),
        "iscx-cnn-dropout": (3, {"repetitions": (1, 5, 6)}, 6.0),
        "iscx-epochs": (4, {"repetitions": (1, 5, 6), "cnn_dropout": 0.07}, 6.0),
    }
    assert sorted(bases) == sweep_names()
    for name, (points, model, weight) in bases.items():
        sweep = load_sweep(name)
        assert len(list(sweep.points())) == points
        assert all(sweep.published(point).keys() == {"application", "traffic"} for point in sweep.points())
        config = sweep.config(next(sweep.points()), 1)
        assert {key: getattr(config.model, key) for key in model} == model
        assert config.loss.weights == {"application": weight, "traffic": 2.0, "auxiliary": 1.0}
        assert config.train.stopping_patience == (0 if name == "iscx-epochs" else 20)


def test_plain_values_survive_toml() -> None:
    import tomllib

    value = {"a": [1, 2.5, 'x"y'], "b c": {"d": True}}
    assert tomllib.loads(f"v = {toml_text(value)}")["v"] == value


def test_interval_is_students() -> None:
    scores = [0.4, 0.5, 0.55]
    found = estimate(scores)
    assert found is not None
    low, high = t.interval(0.95, 2, np.mean(scores), np.std(scores, ddof=1) / np.sqrt(3))
    assert found.mean - found.half_width == pytest.approx(low)
    assert found.mean + found.half_width == pytest.approx(high)
    assert estimate([]) is None
    one = estimate([0.4, None])
    assert one is not None
    assert (one.mean, one.half_width, one.count) == (0.4, None, 1)
