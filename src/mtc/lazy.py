"""Packages whose public names are imported on first use, so that a small part costs no import of the rest."""

import ast
from collections.abc import Callable
from importlib import import_module
from importlib.util import find_spec
from typing import Any


def lazy_names(package: str) -> tuple[Callable[[str], Any], list[str]]:
    """A package's ``__getattr__`` and ``__all__``, made of what it imports under ``if TYPE_CHECKING:``.

    Type checkers and readers see plain imports, ``from mtc.models.predict import predict_logits as
    predict_logits``, and every public name is written in one place.

    Args:
        package: Name of the package, ``__name__`` in its ``__init__.py``.
    """
    homes = _homes(package)

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return find, sorted(homes)


def _homes(package: str) -> dict[str, str]:
    """Public name -> module that defines it."""
    spec = find_spec(package)
    source = None if spec is None else getattr(spec.loader, "get_source", lambda _: None)(package)
    if source is None:
        raise ImportError(f"{package}: its names are read from its source, which is missing")
    homes: dict[str, str] = {}
    for block in ast.parse(source).body:
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING":
            for line in block.body:
                if isinstance(line, ast.ImportFrom) and line.module is not None:
                    homes |= {alias.asname or alias.name: line.module for alias in line.names}
    return homes
