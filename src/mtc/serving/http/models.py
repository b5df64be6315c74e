"""The models that a server offers, read from their cards without PyTorch."""

import json
from pathlib import Path
from typing import Any

from mtc.errors import ModelError
from mtc.inference.model_registry import bundled_models, find_model
from mtc.models.files.card import CARD
from mtc.serving.http.api_error import ApiError

CARD_TEXT = "CARD.md"
SAMPLE_BYTES = 1500


class ModelRegistry:
    """Names, folders and cards of the models on offer."""

    def __init__(self, more: tuple[tuple[str, Path], ...] = ()) -> None:
        """The bundled models, and ``more`` by name and folder.

        Raises:
            ModelError: A folder holds no model.
        """
        self._folders = {**bundled_models(), **{name: find_model(folder) for name, folder in more}}
        self._cards = {name: _card(folder) for name, folder in self._folders.items()}

    def __iter__(self) -> Any:
        return iter(self._folders)

    def path(self, name: str) -> str:
        """What a classifier is loaded by: the name of a bundled model, or a folder."""
        folder = self._folders[name]
        return name if bundled_models().get(name) == folder else str(folder.resolve())

    def folder(self, name: str) -> str:
        """The folder of a model."""
        return str(self._folders[name].resolve())

    def card(self, name: str) -> dict[str, Any]:
        """The card of a model.

        Raises:
            ApiError: There is no such model.
        """
        if name not in self._cards:
            raise ApiError(404, f"no model {name!r}; there are {', '.join(self._cards)}", "model")
        return self._cards[name]

    def text(self, name: str) -> str | None:
        """What people read of a model, in Markdown, where it has that."""
        self.card(name)
        path = self._folders[name] / CARD_TEXT
        return path.read_text(encoding="utf-8") if path.is_file() else None

    def reads_packets(self, name: str) -> bool:
        """Whether a model reads packets, and not features of whole flows."""
        model = self.card(name)["config"]["model"]
        return bool(model["tokens"] * model["width"] == SAMPLE_BYTES)

    def check_reads_packets(self, name: str) -> None:
        """Refuse a model that reads whole flows where single packets are asked for.

        Raises:
            ApiError: It does, or there is no such model.
        """
        if not self.reads_packets(name):
            raise ApiError(422, f"model {name} reads features of whole flows, not packets", "model")

    def brief(self, name: str) -> dict[str, Any]:
        """Tasks, data and scores of a model, without its whole configuration."""
        card = self.card(name)
        return {
            "name": name,
            "kind": card["config"]["model"]["name"],
            "reads": "captures" if self.reads_packets(name) else "features",
            "tasks": card["tasks"],
            "absent": card.get("absent", {}),
            "dataset": {key: card.get("dataset", {}).get(key) for key in ("name", "split", "train_rows")},
            "scores": _scores(card),
            "notes": card.get("notes", []),
            "mtc_version": card.get("mtc_version"),
        }


def _scores(card: dict[str, Any]) -> dict[str, dict[str, float | None]]:
    """Task -> macro F1 of packets and of flows, on the model's test part."""
    metrics = card.get("metrics", {})
    found = {}
    for task in card["tasks"]:
        packets, flows = (
            metrics.get(part, {}).get("test", {}).get(task, {}) for part in ("parts", "flow_parts")
        )
        found[task] = {
            "macro_f1_packets": packets.get("macro_f1"),
            "macro_f1_flows": flows.get("macro_f1"),
            "accuracy_flows": flows.get("accuracy"),
        }
    return found


def _card(folder: Path) -> dict[str, Any]:
    try:
        card: dict[str, Any] = json.loads((folder / CARD).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{folder}: no card of a model ({error})") from None
    return card
