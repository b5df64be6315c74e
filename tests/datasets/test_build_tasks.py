"""Pieces of a build whose file is gone, or changes, between the search and the reading."""

import hashlib
from pathlib import Path

import pytest

from mtc.datasets.build.tasks import HashTask, run_tasks
from mtc.errors import DatasetError
from mtc.parallel import Workers


def test_a_file_that_is_gone_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"gone\.pcap: cannot be read \(No such file"):
        run_tasks([HashTask(tmp_path / "gone.pcap")], tmp_path, Workers())


def test_a_file_that_cannot_be_read_has_no_hash(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"bytes")
    (tmp_path / "folder").mkdir()  # opening it fails as that of a forbidden file does
    results = run_tasks([HashTask(tmp_path / "file"), HashTask(tmp_path / "folder")], tmp_path, Workers())
    assert results[0] == {"bytes": 5, "sha256": hashlib.sha256(b"bytes").hexdigest()}
    assert results[1]["sha256"] == ""
