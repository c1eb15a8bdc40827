"""The house of docs/architecture.md: rooms import from those below them alone, and nothing heavy loads early."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest
from rooms import ROOMS

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "tiepoint"
FACE = ("__init__", "__main__")  # nobody below imports these


def imported(path: Path) -> set[str]:
    """Modules of tiepoint that a file imports, also inside functions."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in names if name == "tiepoint" or name.startswith("tiepoint.")}


def files() -> dict[str, Path]:
    """Dotted name: file."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = ["tiepoint", *path.relative_to(PACKAGE).with_suffix("").parts]
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def room_of(name: str) -> str:
    return name.split(".")[1] if "." in name else "__init__"


def test_every_room_has_its_floor() -> None:
    assert {room_of(name) for name in files()} == {*ROOMS, *FACE}


@pytest.mark.parametrize("room", ROOMS)
def test_rooms_import_from_those_below(room: str) -> None:
    below = ROOMS[: ROOMS.index(room) + 1]
    wrong = [
        f"{name} imports {other}"
        for name, path in files().items()
        if room_of(name) == room
        for other in imported(path)
        if room_of(other) not in below
    ]
    assert not wrong


def test_no_circle_of_imports() -> None:
    known = files()
    arrows = {}
    for name, path in known.items():
        targets = set()
        for other in imported(path):
            parts = other.split(".")
            whole = next((".".join(parts[:k]) for k in range(len(parts), 0, -1) if ".".join(parts[:k]) in known), None)
            if whole is not None and whole != name:
                targets.add(whole)
        arrows[name] = targets
    left = dict(arrows)
    while free := [name for name, targets in left.items() if not targets & left.keys()]:
        for name in free:
            del left[name]
    assert not left, f"circles among {sorted(left)}"


def test_no_folder_is_crowded() -> None:
    for folder in {path.parent for path in PACKAGE.rglob("*.py")}:
        assert len(list(folder.glob("*.py"))) <= 18 + 1, folder  # and __init__.py


@pytest.mark.whole
@pytest.mark.parametrize(
    "code",
    [
        "import tiepoint; tiepoint.PatchSet",
        "from tiepoint.cli import main; main(['--help'])",
        "from tiepoint.cli import main; main(['--version'])",
        "from tiepoint.cli import main; main(['nosuch'])",
    ],
)
def test_no_torch_before_it_is_needed(code: str) -> None:
    check = f"{code}; import sys; assert not {{'torch', 'matplotlib', 'scipy', 'rich'}} & set(sys.modules), 'heavy'"
    finished = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr


def test_public_names_resolve() -> None:
    import tiepoint

    for name in tiepoint.__all__:
        assert getattr(tiepoint, name) is not None
    assert tiepoint.evaluation.fpr95([0, 1], [0.0, 1.0]) == 0.0
    assert {"sdgmnet", "rrlnet"} <= set(tiepoint.nets.names())
    assert tiepoint.losses.SDGM().alpha == 0.9
    with pytest.raises(AttributeError, match="nosuch"):
        _ = tiepoint.nosuch


@pytest.mark.parametrize(
    "path", [*ROOT.glob("benchmarks/*.py"), *ROOT.glob("scripts/*.py")], ids=lambda path: path.stem
)
def test_benchmarks_and_scripts_import_names_that_are_there(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "tiepoint":
            module = importlib.import_module(str(node.module))
            for alias in node.names:
                assert hasattr(module, alias.name) or importlib.import_module(f"{node.module}.{alias.name}")
