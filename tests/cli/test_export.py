import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("small_parity_check")]


@pytest.fixture(autouse=True)
def _translated_once(tiny_onnx: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyTorch's part of the work takes seconds and always gives the same."""

    def write(graph: object, model: object, path: Path, example: object) -> None:
        path.write_bytes(tiny_onnx.read_bytes())

    monkeypatch.setattr("mtc.inference.export.onnx._write", write)


def test_writes_a_file_and_tells_its_parity(
    mtc: Callable[..., Any], tiny_model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "tiny.onnx"
    done = mtc("export", tiny_model, "--out", out, "--int8")
    assert (done.status, done.err) == (0, "")
    first, fp32, int8, agreement = done.out.splitlines()
    assert first.startswith(f"{out}: ")
    assert fp32.startswith("fp32 in onnxruntime, 64 samples in batches of 1, 2, 17 and 64: ")
    assert fp32.endswith("equal to the model")
    assert int8.startswith("int8 in onnxruntime")
    assert "application" in agreement
    assert out.stat().st_size > 10_000

    again = mtc("export", tiny_model, "--out", out)
    assert again.status == 2
    assert again.err.count("\n") == 1
    assert "--force" in again.err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx"]


def test_prints_json(mtc: Callable[..., Any], tiny_model: Path, tmp_path: Path) -> None:
    done = mtc("export", tiny_model, "--to", "onnx", "--out", tmp_path / "tiny.onnx", "--json")
    found = json.loads(done.out)
    assert found["file"] == str(tmp_path / "tiny.onnx")
    assert found["int8"] is False
    assert max(found["parity"]["difference"].values()) <= found["parity"]["tolerance"]


def test_parity_that_does_not_hold_writes_nothing(
    mtc: Callable[..., Any], tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mtc.inference.export.check.TOLERANCE", -1.0)
    done = mtc("export", tiny_model, "--out", tmp_path / "tiny.onnx")
    assert done.status == 1
    assert done.err.startswith("mtc: the exported model differs by ")
    assert list(tmp_path.iterdir()) == []


def test_refuses_what_is_no_model(mtc: Callable[..., Any], tmp_path: Path) -> None:
    done = mtc("export", "nowhere", "--out", tmp_path / "x.onnx")
    assert done.status == 2
    assert done.err.startswith("mtc: nowhere: no such model")
