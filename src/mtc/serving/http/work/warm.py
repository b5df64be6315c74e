"""What the process of every job is forked from: it has imported this and never sees an upload.

The libraries and the default model are in memory, and the bundled capture was classified once, so that
compiled code is there too. No thread may be started here that a job needs: a fork would not take it along.
"""

import contextlib
from importlib import import_module, resources
from pathlib import Path

from mtc.models.engine.threads import use_threads
from mtc.serving.http.work import classify, packets
from mtc.serving.http.work.sandbox import hide_from_others
from mtc.serving.http.work.sources import classifier

MODEL = "iscx"
FEATURE_MODEL = "cicids2017"
"""Classifies flows by other compiled code; a job may not load or compile any."""

__all__ = ["classify", "packets"]

for _name in ("pyarrow.parquet", "pandas", "torch", "captum.attr"):  # slow to import, where installed
    with contextlib.suppress(ModuleNotFoundError):
        import_module(_name)
with contextlib.suppress(ModuleNotFoundError):  # reasons by gradients need PyTorch
    from mtc.serving.http.work import explain  # noqa: F401


def _judge_something() -> None:
    use_threads(1)
    capture = Path(str(resources.files("mtc") / "assets" / "demo.pcap"))
    if capture.is_file():
        for model in (MODEL, FEATURE_MODEL):
            for row in classifier(model).classify(capture):
                row.clear()


hide_from_others()
_judge_something()
