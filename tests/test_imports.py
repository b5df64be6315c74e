"""Imports point only to the left: each room knows the rooms before it on the road, and no other."""

import ast
from pathlib import Path

import pytest

import mtc

SOURCE = Path(mtc.__file__).parent

ROAD = (
    ("errors", "columns", "tasks", "config", "lazy", "metrics", "numba_cache", "palette"),
    ("capture",),
    ("packets",),
    ("flows",),
    ("datasets",),
    ("models",),
    ("training",),
    ("inference",),
    ("evaluation",),
    ("report", "serving", "laboratory"),
    ("cli",),
    ("__main__",),
)
PLACE = {room: place for place, rooms in enumerate(ROAD) for room in rooms}
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def _rooms_imported(path: Path) -> set[str]:
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            names = [node.module or ""]
            if node.module == "mtc":
                names = [f"mtc.{alias.name}" for alias in node.names if alias.name != "__version__"]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        rooms |= {name.split(".")[1] for name in names if name.startswith("mtc.")}
    return rooms


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_to_the_left(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert room in PLACE, f"{room} has no place on the road"
    for other in _rooms_imported(path) - {room}:
        assert PLACE[other] <= PLACE[room], f"{room} imports {other}, which lies to its right"
        assert PLACE[other] < PLACE[room] or PLACE[room] == 0, f"{room} imports {other} beside it"


def test_every_file_of_the_package_is_looked_at() -> None:
    assert {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES} <= PLACE.keys()
    assert len(FILES) > 20
