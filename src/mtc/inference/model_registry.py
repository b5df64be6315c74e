"""Where models are found: bundled ones by name, others by the folder of their run."""

from importlib import resources
from pathlib import Path

from mtc.errors import ModelError
from mtc.models.files.card import CARD, WEIGHTS, ModelCard


def bundled_models() -> dict[str, Path]:
    """Name -> folder of every model shipped inside the package, by name."""
    folder = Path(str(resources.files("mtc") / "assets" / "models"))
    if not folder.is_dir():
        return {}
    return {model.name: model for model in sorted(folder.iterdir()) if (model / WEIGHTS).is_file()}


def bundled_cards() -> dict[str, ModelCard]:
    """Name -> card of every bundled model, by name.

    Raises:
        ModelError: A card is damaged or of another version.
    """
    return {name: read_card(folder) for name, folder in bundled_models().items()}


def read_card(folder: Path) -> ModelCard:
    """The card in a model's folder.

    Raises:
        ModelError: It is missing, damaged or of a version that cannot be read.
    """
    try:
        return ModelCard.from_json((folder / CARD).read_text(encoding="utf-8"))
    except ModelError as error:
        raise ModelError(f"{folder}: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder}: {CARD} cannot be read") from error


def find_model(name_or_path: str | Path) -> Path:
    """The folder of a model.

    Args:
        name_or_path: A bundled name such as ``iscx``, a run folder, or its ``model.safetensors``. A name
            is looked for among the bundled models first; ``./iscx`` is always a folder.

    Raises:
        ModelError: There is no such model.
    """
    bundled = bundled_models()
    if str(name_or_path) in bundled:
        return bundled[str(name_or_path)]
    path = Path(name_or_path)
    if path.name == WEIGHTS and path.is_file():
        return path.parent
    if path.is_dir():
        return path
    names = ", ".join(bundled) or "none"
    raise ModelError(f"{name_or_path}: no such model: not a folder, and bundled are {names}")
