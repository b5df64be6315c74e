"""The runs behind docs/results.md: their order, what is kept of them, and the page."""

import argparse
import json
import tomllib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from mtc.config import load_recipe

SCRIPTS = Path(__file__).resolve().parents[2] / "scripts"


@pytest.fixture(scope="module")
def plan() -> dict[str, Any]:
    return tomllib.loads((SCRIPTS / "results.toml").read_text(encoding="utf-8"))


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(SCRIPTS))
    import results

    return results


def finished(name: str, seed: int, f1: float) -> dict[str, Any]:
    """What is kept of a run of MTC on the flow split."""
    scores = {
        task: {"macro_f1": f1, "macro_recall": f1 / 2} for task in ("application", "traffic", "auxiliary")
    }
    training = {"minutes": 8.0, "samples_per_s": 100.0, "epochs": 4, "machine": "m", "precision": "fp32"}
    return {
        "seed": seed,
        "parts": {"test": scores},
        "flow_parts": {"test": scores},
        "run": {
            "table": "iscx-flow",
            "recipe": name,
            "budget_minutes": 8,
            "rows": {"train": 10650},
            "training": training,
        },
    }


def test_mtc_first_then_one_seed_of_everything_then_the_rest(script: ModuleType, plan: dict) -> None:
    runs = list(script.planned(plan, []))
    names = [run.name for run in runs]
    assert names[:3] == [f"iscx-flow-mtc-{seed}" for seed in (1, 2, 3)]
    assert [run.seed for run in runs[3:]] == [1] * 21 + [2] * 21 + [3] * 21
    rest = ("mtc-2task", "transformer", "cnn", "fields", "gradient-boosting")
    assert names[3:9] == [*(f"iscx-flow-{name}-1" for name in rest), "iscx-packet-mtc-1"]
    assert len(set(names)) == len(names) == 66


def test_every_run_can_be_configured_and_shares_its_budget_rule(script: ModuleType, plan: dict) -> None:
    for run in script.planned(plan, []):
        assert script.missing(run) == ""
        config = load_recipe(run.recipe, [f"data.split={run.split}", *run.settings])
        assert config.train.schedule == "budget"
        assert run.recipe in plan["names"]
        assert run.dataset in plan["datasets"]


def test_page_has_means_intervals_and_empty_cells(script: ModuleType, plan: dict, tmp_path: Path) -> None:
    for seed, f1 in ((1, 0.4), (2, 0.5)):
        (tmp_path / f"mtc-{seed}.json").write_text(json.dumps(finished("iscx-mtc", seed, f1)))
    (tmp_path / "cnn-1.json").write_text(json.dumps(finished("iscx-cnn", 1, 0.25)))
    (tmp_path / "audit.json").write_text("{}")
    script.write_page(plan, tmp_path, tmp_path / "page.md")
    lines = (tmp_path / "page.md").read_text().splitlines()
    # t(0.975, 1) = 12.706 times s / sqrt 2 = 0.05
    assert "| MTC | App. | 45.00 ± 63.53 | 22.50 ± 31.77 | 45.00 ± 63.53 | 98.25 | 98.30 |" in lines
    assert "| 1D-CNN | App. | 25.00 | 12.50 | 25.00 | 96.13 | 95.91 |" in lines
    assert "| Transformer | App. |  |  |  | 97.27 | 97.18 |" in lines
    assert "| fields (ours) | Tra. |  |  |  |  |  |" not in lines  # a name stands in a model's first row
    assert "| fields (ours) | App. |  |  |  |  |  |" in lines
    assert "| MTC | 1, 2 | 8 | 8.0 | 100 | 4.0 | 10,650 | m, fp32 |" in lines
    assert "| Transformer |  |  |  |  |  |  |  |" in lines


def test_a_run_is_kept_with_its_command_and_not_run_again(
    script: ModuleType, plan: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def train(run: Any, options: argparse.Namespace) -> bool:
        done.append(run.name)
        (options.results / f"{run.name}.json").write_text(json.dumps(finished(run.recipe, run.seed, 0.3)))
        return run.seed != 2

    monkeypatch.setattr(script, "train", train)
    monkeypatch.setattr(script, "build", lambda dataset, plan: "")
    monkeypatch.setattr(script.signal, "signal", lambda *_: None)
    options = argparse.Namespace(results=tmp_path, docs=tmp_path / "page.md")
    runs = [run for run in script.planned(plan, []) if run.name.startswith("iscx-flow-mtc-")][:3]
    assert script.run_all(runs, plan, options) == 1
    assert done == [f"iscx-flow-mtc-{seed}" for seed in (1, 2, 3)]
    assert script.run_all(runs, plan, options) == 0
    assert len(done) == 3


def test_shallow_models_have_no_learning_curves(script: ModuleType, tmp_path: Path) -> None:
    assert script._log(tmp_path / "epochs.csv") == {}
    (tmp_path / "epochs.csv").write_text("epoch,loss\n1,0.5\n2,\n")
    assert script._log(tmp_path / "epochs.csv") == {"epoch": [1, 2], "loss": [0.5, None]}
