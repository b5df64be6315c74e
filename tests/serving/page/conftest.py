"""Lets the tests of this folder import `serve_running`, which lies beside the tests of the API."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "http"))
