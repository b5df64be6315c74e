"""The layout of the package: imports point only to the left, none in a circle, no crowded folder."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import mtc

SOURCE = Path(mtc.__file__).parent
ROAD = (
    (
        "errors", "extras", "files", "lazy", "columns", "tasks", "config", "metrics", "numba_cache",
        "palette", "parallel", "rows",
    ),
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
)  # fmt: skip
"""The rooms of docs/architecture.md. A room imports those before its own line; the first line also itself."""
POSITION = {room: position for position, rooms in enumerate(ROAD) for room in rooms}
MOST_FILES = 20
FILES = sorted(path for path in SOURCE.rglob("*.py") if path != SOURCE / "__init__.py")


def module_name(path: Path) -> str:
    parts = ("mtc", *path.relative_to(SOURCE).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for path in (SOURCE / "__init__.py", *FILES)}


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and module of every import, also of those inside functions."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield node.lineno, whole if whole in MODULES else str(node.module)
        elif isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)


def imports_for_types(path: Path) -> set[int]:
    """Lines under ``if TYPE_CHECKING:``, which do not run."""
    blocks = (
        node
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
    )
    return {line for block in blocks for line in range(block.lineno, block.body[-1].end_lineno + 1)}  # type: ignore[operator]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_point_to_the_left(path: Path) -> None:
    room = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    assert room in POSITION, f"{room} has no position on the road"
    for line, name in imports(path):
        if not name.startswith("mtc."):
            continue
        other = name.split(".")[1]
        if other != room:
            assert POSITION[other] <= POSITION[room], f"{path}:{line}: {other} lies to the right of {room}"
            assert POSITION[other] < POSITION[room] or POSITION[room] == 0, f"{path}:{line}: {other}"


def test_no_modules_import_each_other() -> None:
    needs = {}
    for name, path in MODULES.items():
        types = imports_for_types(path)
        needs[name] = {other for line, other in imports(path) if line not in types and other in MODULES}
        needs[name].discard(name)
    while free := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in free:
            del needs[name]
    while unneeded := needs.keys() - set().union(*needs.values()):  # what only leads to a cycle
        for name in unneeded:
            del needs[name]
    cycles = {name: sorted(others & needs.keys()) for name, others in needs.items()}
    assert not cycles, f"modules that import each other: {cycles}"


def test_no_public_name_is_hidden_by_a_module() -> None:
    for name, path in MODULES.items():
        if path.name == "__init__.py":
            lines = imports_for_types(path)
            public = {
                alias.name
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.ImportFrom) and node.lineno in lines
                for alias in node.names
            }
            hidden = {public_name for public_name in public if f"{name}.{public_name}" in MODULES}
            assert not hidden, f"{name}: once the module is imported, {hidden} is the module"


def test_no_folder_is_crowded() -> None:
    sizes = {folder: len(list(folder.glob("*.py"))) for folder in {path.parent for path in FILES}}
    crowded = {str(folder): size for folder, size in sizes.items() if size > MOST_FILES}
    assert not crowded, f"folders with more than {MOST_FILES} Python files: {crowded}"


def test_every_room_is_on_the_road() -> None:
    assert {path.relative_to(SOURCE).parts[0].removesuffix(".py") for path in FILES} <= POSITION.keys()
    assert len(FILES) > 200
