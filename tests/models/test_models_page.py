"""docs/models.md says what the models are now."""

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("models_page", ROOT / "scripts" / "models_page.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["models_page"] = module
    spec.loader.exec_module(module)
    return module


def test_the_page_is_current(script: ModuleType) -> None:
    text = script.page()
    assert (ROOT / "docs" / "models.md").read_text(encoding="utf-8") == text, (
        "run python scripts/models_page.py"
    )
    found = re.search(r"\| MTC on ISCX \| ([\d,]+) \| ([\d,]+) \|", text)
    assert found is not None
    parameters, multiply_adds = (int(cell.replace(",", "")) for cell in found.groups())
    # Added up by hand from Table 3 in test_mtc.py; the cost of the reading in docs/paper.md.
    assert parameters == 1_607_601
    assert 0.69e9 < 2 * multiply_adds < 0.71e9
