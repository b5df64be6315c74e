"""From captures of encrypted traffic to calibrated verdicts: application, traffic type, family.

A complete system around "MTC: A Multi-Task Model for Encrypted Network Traffic Classification Based
on Transformer and 1D-CNN" (Wang, Gao, Lei; IASC 37(1), 2023; doi 10.32604/iasc.2023.036701).
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mtc.lazy import lazy_names
from mtc.numba_cache import find_cache_place, forget_stale_kernels

if TYPE_CHECKING:
    from mtc.flows import iter_samples as iter_samples
    from mtc.flows import read_samples as read_samples
    from mtc.inference import Classifier as Classifier

__version__ = "0.1.0"

forget_stale_kernels(Path(__file__).parent)
find_cache_place(Path(__file__).parent)

_find, __all__ = lazy_names(__name__)


def __getattr__(name: str) -> Any:
    # The package mtc.flows can be called; it is imported on first use like the names above.
    return import_module("mtc.flows") if name == "flows" else _find(name)
