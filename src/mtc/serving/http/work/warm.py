"""What the process of every job is forked from: it has imported this and never sees an upload.

The libraries and the default model are in memory, and the bundled capture was judged once, so that
compiled code is there too. No thread may be started here that a job needs: a fork would not take it along.
"""

import contextlib
from importlib import resources
from pathlib import Path

import pandas as pd  # noqa: F401 - Arrow imports it with the first table
import pyarrow.parquet  # noqa: F401 - slow to import
import torch  # noqa: F401 - slow to import, and models other than of fields need it

from mtc.models.engine.threads import use_threads
from mtc.serving.http.work import classify, packets
from mtc.serving.http.work.template import classifier

MODEL = "iscx"

__all__ = ["classify", "packets"]

with contextlib.suppress(ImportError):  # reasons need a library that is not everywhere
    import captum.attr  # noqa: F401

    from mtc.serving.http.work import explain  # noqa: F401


def _judge_something() -> None:
    use_threads(1)
    capture = Path(str(resources.files("mtc") / "assets" / "demo.pcap"))
    if capture.is_file():
        for row in classifier(MODEL).classify(capture):
            row.clear()


_judge_something()
