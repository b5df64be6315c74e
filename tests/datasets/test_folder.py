"""The place of a dataset is built by one process at a time."""

from pathlib import Path

import pytest

from mtc.datasets.build.folder import building
from mtc.errors import OutputError


def test_a_second_build_into_the_same_place_is_refused(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with building(out, force=False) as (work, finished):
        (finished / "dataset.json").write_text("{}")
        with (
            pytest.raises(OutputError, match="another process is building it right now"),
            building(out, force=True),
        ):
            pass
        assert work.is_dir()
    assert (out / "dataset.json").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
