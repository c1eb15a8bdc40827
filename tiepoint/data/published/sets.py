"""The sets of a published layout: which files of a folder are read, and what the manifest says of them."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tiepoint.errors import InputError

PREFIX = "finally_"  # of the published index files


def find_lists(root: Path, sets: Sequence[str]) -> dict[str, Path]:
    """Tables (.csv) of a folder by the names of their sets, those of `sets` in its order or all. Raises InputError."""
    return select_sets(root, {path.stem: path for path in files(root) if path.suffix.lower() == ".csv"}, sets, "*.csv")


def find_index_files(root: Path, sets: Sequence[str]) -> dict[str, Path]:
    """Index files by set, "train" for finally_train.txt; there must be one, or `sets` name some. Raises InputError."""
    present = {path.stem.removeprefix(PREFIX): path for path in files(root) if path.suffix.lower() == ".txt"}
    chosen = select_sets(root, present, [name.removeprefix(PREFIX) for name in sets], "finally_train.txt")
    if len(chosen) > 1 and not sets:
        remedy = "name those to read, pairs of one PatchSet are not told apart"
        raise InputError(f"{root}: holds the sets {', '.join(chosen)}: {remedy}")
    return chosen


def select_sets(root: Path, present: dict[str, Path], sets: Sequence[str], wanted: str) -> dict[str, Path]:
    """Those of `present` that `sets` names, in its order, or all. `wanted` is a file that the folder should hold."""
    if not present:
        raise InputError(f"{root}: holds no {wanted}: give the folder of the set")
    unknown = [name for name in sets if name not in present]
    if unknown:
        raise InputError(f"{root}: holds no set {unknown[0]}: there are {', '.join(present)}")
    if len(set(sets)) < len(sets):
        raise InputError(f"{root}: a set is named twice: its pairs would count twice")
    return {name: present[name] for name in sets} if sets else present


def files(root: Path) -> list[Path]:
    """The files of a folder by name, hidden ones left out. Raises InputError if there is no such folder."""
    if not root.is_dir():
        raise InputError(f"{root}: no such folder")
    return sorted(path for path in root.iterdir() if path.is_file() and not path.name.startswith("."))


def check_spectra(spectra: Sequence[str]) -> None:
    """Raise InputError unless these are two different names."""
    if len(spectra) != 2 or spectra[0] == spectra[1] or not all(spectra):
        raise InputError(f"spectra are {', '.join(spectra)}: name two different ones")


def provenance(layout: str, root: Path, sets: Iterable[str]) -> dict[str, Any]:
    """What the manifest records of a layout."""
    return {
        "builder": "tiepoint data import",
        "layout": layout,
        "source": root.resolve().name,
        "sets": list(sets),
        "support": "not published; the whole patch is the network's input",
    }
