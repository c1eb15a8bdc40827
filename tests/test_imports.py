"""Imports point one way, and nothing heavy is loaded before it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "tiepoint"
# Room: the rooms that it may import from. The rest of the top level (errors, files, patches ...) is open to all.
ALLOWED = {
    "cli": {"cli", "training", "evaluation", "imaging", "export", "data", "losses", "nets"},
    "training": {"training", "evaluation", "data", "losses", "nets"},
    "evaluation": {"evaluation", "imaging", "data", "losses", "nets"},
    "imaging": {"imaging", "data", "nets"},
    "export": {"export", "imaging", "data", "nets"},
    "data": {"data"},
    "losses": {"losses"},
    "nets": {"nets"},
}
# Two leaves of imaging know arrays alone, and the others read files; builders cut patches with them.
LEAVES = {f"tiepoint.imaging.{name}" for name in ("frames", "extract", "extract_torch", "io", "header", "tiff")}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def is_leaf(name: str) -> bool:
    return any(name == leaf or name.startswith(f"{leaf}.") for leaf in LEAVES)


@pytest.mark.parametrize("room", ALLOWED)
def test_rooms_import_in_one_direction(room: str) -> None:
    wrong = []
    for path in (PACKAGE / room).rglob("*.py"):
        for name in imported(path):
            parts = name.split(".")
            is_room = parts[0] == "tiepoint" and len(parts) > 1 and parts[1] in ALLOWED
            if is_room and parts[1] not in ALLOWED[room] and not is_leaf(name):
                wrong.append(f"{path.relative_to(PACKAGE)} imports {name}")
    assert not wrong


@pytest.mark.parametrize("leaf", sorted(LEAVES))
def test_leaves_import_no_room(leaf: str) -> None:
    names = imported(PACKAGE / Path(*leaf.split(".")[1:]).with_suffix(".py"))
    assert {n for n in names if n.startswith("tiepoint.") and n.split(".")[1] in ALLOWED and not is_leaf(n)} == set()


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
