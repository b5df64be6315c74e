"""``mtc evaluate``: what it refuses before it scores; tests/evaluation has the scores."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize(
    ("out", "message"),
    [("file", "exists already; --force replaces it"), ("file/x.json", "cannot be written (Not a directory)")],
)
def test_a_file_that_cannot_be_written_is_told_before_the_work(
    mtc: Callable[..., Any], tiny_model: Path, tmp_path: Path, out: str, message: str
) -> None:
    (tmp_path / "file").write_text("mine")
    done = mtc("evaluate", tiny_model, "--out", tmp_path / out)
    assert (done.status, done.err) == (2, f"mtc: {tmp_path / out}: {message}\n")
    assert (tmp_path / "file").read_text() == "mine"
