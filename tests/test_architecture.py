"""Which rooms may import which: downwards, or beside each other on one floor."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import guerdon

ROOT = Path(guerdon.__file__).parent
FLOORS = (
    ("errors", "__version__"),
    ("data", "context", "registry", "scoring"),
    ("engines", "tasks", "store", "sandbox"),
    ("verify", "judge", "intrinsic", "shape", "credit", "models"),
    ("score", "learn", "bench", "audit"),
    ("systems",),
    ("claims", "adapters", "serve"),
    ("cli",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
NAMES_OF_SYSTEMS = {("registry", "guerdon.systems"), ("learn", "guerdon.systems")}
"""Names in recipes and on the command line may be those of systems: both look them up in the catalogue."""


def imports(path: Path) -> Iterator[tuple[str, tuple[str, ...]]]:
    """(module, names taken from it) of every import of guerdon, wherever in the file it stands."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "guerdon":
            names = tuple(alias.name for alias in node.names)
            if node.module == "guerdon":
                yield from ((f"guerdon.{name}", ()) for name in names)
            else:
                yield str(node.module), names
        elif isinstance(node, ast.Import):
            yield from ((a.name, ()) for a in node.names if a.name.split(".")[0] == "guerdon")


def upwards(path: Path, room: str) -> Iterator[str]:
    for module, names in imports(path):
        other = module.split(".")[1] if "." in module else "cli"
        if other == room or FLOOR[other] <= FLOOR[room]:
            continue
        if (room, module) in NAMES_OF_SYSTEMS and names == ("catalogue",):
            continue
        yield f"{path.relative_to(ROOT)} imports {module}"


@pytest.mark.parametrize("room", FLOOR)
def test_rooms_import_downwards(room):
    files = [ROOT / f"{room}.py"] if (ROOT / f"{room}.py").is_file() else sorted((ROOT / room).rglob("*.py"))
    assert files or room == "__version__"
    assert [line for path in files for line in upwards(path, room)] == []


def test_every_room_has_a_floor():
    rooms = {p.name for p in ROOT.iterdir() if (p / "__init__.py").is_file()}
    rooms |= {p.stem for p in ROOT.glob("*.py")} - {"__init__", "__main__"}
    assert rooms <= set(FLOOR)


def test_an_import_upwards_is_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    path = tmp_path / "wrong.py"
    path.write_text("def late():\n    from guerdon.learn.loop import Training\n")
    assert list(upwards(path, "verify")) == ["wrong.py imports guerdon.learn.loop"]
    assert list(upwards(path, "cli")) == []
