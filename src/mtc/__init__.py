"""From captures of encrypted traffic to calibrated verdicts: application, traffic type, family.

A complete system around "MTC: A Multi-Task Model for Encrypted Network Traffic Classification Based
on Transformer and 1D-CNN" (Wang, Gao, Lei; IASC 37(1), 2023; doi 10.32604/iasc.2023.036701).
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mtc.inference import Classifier
    from mtc.packets import iter_samples, read_samples

__version__ = "0.1.0"
__all__ = ["Classifier", "__version__", "iter_samples", "read_samples"]

_HOMES = {"Classifier": "mtc.inference", "iter_samples": "mtc.packets", "read_samples": "mtc.packets"}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for, so that ``import mtc`` stays quick."""
    if name not in _HOMES:
        raise AttributeError(f"module 'mtc' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
