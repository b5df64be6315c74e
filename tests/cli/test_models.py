"""``mtc models``: what models can be asked for."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from mtc.inference import bundled_models


def test_bundled_models_are_listed(mtc: Callable) -> None:
    found = {model["name"]: model for model in json.loads(mtc("models", "--json").out)}
    assert list(found) == list(bundled_models())
    assert {name: model["vpn"] for name, model in found.items()} == {
        "cicids2017": False,
        "iscx": True,
        "iscx-paper": True,
        "today": True,
    }
    for name, model in found.items():
        weights = bundled_models()[name] / "model.safetensors"
        assert weights.stat().st_size < model["bytes_on_disk"] < 30e6
        assert model["format_version"] == 3
        assert set(model["reject"]) == set(model["tasks"])
        assert model["pairs"] or len(model["tasks"]) == 1
    together = found["iscx"]["pairs"]["application"]["traffic"]
    assert together["Netflix"] == ["Streaming", "VPN Streaming"]


def test_a_model_of_ones_own_is_shown(mtc: Callable, tiny_model: Path) -> None:
    result = mtc("models", tiny_model)
    assert result.status == 0
    for text in (
        "first 10 packets that carry information; with VPN.",
        "No thresholds: its labels are never unknown.",
        "Does not know which labels conflict.",
        " MB, written by mtc ",
    ):
        assert text in result.out
    assert "Unknown below application 0." in mtc("models", "iscx").out


@pytest.mark.parametrize(
    ("version", "reason"), [(99, "newer than this version"), (0, "older than 1"), ("x", "no number")]
)
def test_a_model_of_another_version_is_refused_in_one_line(
    mtc: Callable, tiny_model: Path, capture: Path, tmp_path: Path, version: object, reason: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(tiny_model, folder)
    card = json.loads((folder / "model.json").read_text())
    (folder / "model.json").write_text(json.dumps(card | {"format_version": version}))
    for arguments in (("models", folder), ("classify", capture, "--model", folder)):
        result = mtc(*arguments)
        assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
        assert reason in result.err
        assert result.err.startswith(f"mtc: {folder}: ")


def test_no_such_model(mtc: Callable, tmp_path: Path) -> None:
    for name in ("nonsense", tmp_path):
        result = mtc("models", name)
        assert (result.status, result.out, result.err.count("\n")) == (2, "", 1)
