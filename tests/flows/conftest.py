"""Frames and batches made by hand, as the tests of packets have them."""

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location(
    "packet_fixtures", Path(__file__).parent.parent / "packets" / "conftest.py"
)
assert _SPEC is not None
assert _SPEC.loader is not None
_FIXTURES = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_FIXTURES)

make_batch, build = _FIXTURES.make_batch, _FIXTURES.build
