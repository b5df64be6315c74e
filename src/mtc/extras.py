"""Optional dependencies: which extra of the package installs which library."""

from importlib import import_module
from typing import Any

from mtc.errors import UsageError

_TRAIN = (
    "imblearn", "lightgbm", "lightning", "pandas", "pyarrow", "scipy", "sklearn", "tensorboardX", "torch"
)  # fmt: skip
_REPORT = ("jinja2", "matplotlib", "pyarrow", "scipy", "sklearn")

EXTRAS = {
    "parquet": ("pyarrow",),
    "train": _TRAIN,
    "report": _REPORT,
    "live": ("pcapy", "yacryptopan"),
    "serve": (
        "fastapi", "jsonschema", "nicegui", "prometheus_client", "pyarrow", "python_multipart", "starlette",
        "uvicorn", "yacryptopan",
    ),
    "kafka": ("confluent_kafka",),
    "explain": ("captum", "matplotlib", "torch"),
    "onnx": ("onnx", "onnxruntime", "onnxscript", "torch"),
    "sweep": ("optuna", *_TRAIN),
    "ray": ("ray",),
    "polars": ("polars", "pyarrow"),
    "ndpi": ("nfstream",),
}  # fmt: skip
"""Extra -> the modules that it installs. A module is looked up in this order."""


def need(name: str, *, extra: str | None = None) -> Any:
    """Import an optional library.

    Args:
        name: The module, such as ``captum.attr``.
        extra: The extra to recommend where several install it.

    Raises:
        UsageError: It is not installed; the message says which extra installs it.
    """
    try:
        return import_module(name)
    except ImportError as error:
        missing = missing_extra(error, extra, name)
        if missing is None:
            raise
        raise missing from error


def missing_extra(error: ImportError, extra: str | None = None, name: str = "") -> UsageError | None:
    """The one-line error for a library that an extra would have installed; None for any other module.

    Args:
        error: What the import raised.
        extra: The extra to recommend where it installs the module.
        name: The module, where the error does not name one.
    """
    module = (error.name or name).partition(".")[0]
    extras = [name for name, modules in EXTRAS.items() if module in modules]
    if not extras:
        return None
    chosen = extra if extra in extras else extras[0]
    return UsageError(f"this needs {module}: pip install 'mtc-traffic[{chosen}]'")
