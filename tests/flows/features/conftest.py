"""Puts ``made_flows``, which the tests of this folder share, where it can be imported."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
