"""What all tests share."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real data: $MTC_DATA, or shared/data beside the checkout; else skip."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("MTC_DATA", default))
    if not folder.is_dir():
        pytest.skip("no real data: neither $MTC_DATA nor ../shared/data is a folder")
    return folder
