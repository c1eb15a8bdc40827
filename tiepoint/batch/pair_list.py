"""Lists of image pairs: from a table, or from two folders whose files have the same names."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tiepoint.errors import InputError
from tiepoint.export.folder import list_images
from tiepoint.names import read_cells

LONGEST = 200  # bytes of a name, which becomes a folder's
RESERVED = {"summary.csv", "summary.json"}  # what lies beside these folders


@dataclass(frozen=True)
class Pair:
    """Two images to register, or one without its partner."""

    name: str  # of the folder that its results go to, unique in its list
    a: Path | None  # image to register; None if it is missing
    b: Path | None  # image it is registered to; likewise
    problem: str = ""  # why the pair cannot be registered; empty if it can


def read_table(path: str | Path) -> list[Pair]:
    """Pairs from a CSV file with the columns a and b, paths relative to it, and optionally name.

    Without a name a pair is called by its files: "left-right" for left.png and right.tif, "0001" for vis/0001.png and
    nir/0001.png, and by their whole paths where that would call two pairs alike. Other columns are not read.

    Raises InputError that names the line: a file that is no such table, without pairs, with a row of the wrong length
    or an empty cell, with a pair or a name twice, or with a name that cannot be a folder's.
    """
    path = Path(path)
    rows = read_cells(path, "give a table with the columns a and b")
    if not rows:
        raise InputError(f"{path}: is empty: give a table with the columns a and b")
    header = rows[0][1]
    for column in ("a", "b", "name"):
        if header.count(column) != 1 and (column != "name" or column in header):
            count = header.count(column)
            raise InputError(f"{path}: has {count} columns {column!r}: give a and b, and name if you like, once each")
    lines, cells, names = [], [], []
    for line, row in rows[1:]:
        if len(row) != len(header):
            raise InputError(f"{path}, line {line}: {len(row)} cells, the header has {len(header)}: give as many")
        values = dict(zip(header, row, strict=True))
        if empty := [column for column in ("a", "b") if not values[column]]:
            raise InputError(f"{path}, line {line}: {empty[0]} is empty: name an image")
        lines.append(line)
        cells.append((values["a"], values["b"]))
        names.append(values.get("name", ""))
    if not cells:
        raise InputError(f"{path}: holds no pairs: give a row a, b for each")
    for kind, keys in (("pair", [" ".join(pair) for pair in cells]), ("name", [name.casefold() for name in names])):
        _refuse_twice(path, kind, keys, lines)
    names = [name or automatic for name, automatic in zip(names, _automatic(cells), strict=True)]
    for line, name in zip(lines, names, strict=True):
        if problem := _unfit(name, ": give another in the column name"):
            raise InputError(f"{path}, line {line}: {problem}")
    _refuse_twice(path, "name", [name.casefold() for name in names], lines)
    return [Pair(name, path.parent / a, path.parent / b) for name, (a, b) in zip(names, cells, strict=True)]


def pair_folders(a: str | Path, b: str | Path) -> list[Pair]:
    """The images of two folders with equal names but for the suffix, sorted; those without a partner say so.

    Raises InputError for what is no folder, one folder twice, two images of a name in a folder, and no pair at all.
    """
    first, second = (_by_stem(Path(folder)) for folder in (a, b))
    if Path(a).resolve() == Path(b).resolve():
        raise InputError(f"{a} and {b} are one folder: name two, or a table of pairs (.csv)")
    if not first.keys() & second.keys():
        raise InputError(f"{a} and {b}: no two images have the same name: rename them, or give a table of pairs (.csv)")
    pairs = []
    for stem in sorted(first.keys() | second.keys()):
        missing = [folder for found, folder in ((first, a), (second, b)) if stem not in found]
        problem = f"no image {stem!r} in {missing[0]}" if missing else _unfit(stem, ": rename the images")
        pairs.append(Pair(stem, first.get(stem), second.get(stem), problem))
    return pairs


def check_names(pairs: Iterable[Pair]) -> None:
    """Raise InputError unless every name is fit for a folder and stands once, or the pair has a problem anyway."""
    names = Counter(pair.name.casefold() for pair in pairs)
    for pair in pairs:
        if names[pair.name.casefold()] > 1:
            raise InputError(f"two pairs have the name {pair.name!r}: give each its own")
        if not pair.problem and (problem := _unfit(pair.name, ": give another")):
            raise InputError(problem)


def _by_stem(folder: Path) -> dict[str, Path]:
    found: dict[str, Path] = {}
    for path in (folder / name for name in list_images(folder, below=False)):
        if path.stem in found:
            raise InputError(f"{path}: {found[path.stem].name} has the same name: leave one of them")
        found[path.stem] = path
    return found


def _automatic(cells: list[tuple[str, str]]) -> list[str]:
    """Names from the files' own, or from their whole paths where the names alone do not tell the pairs apart."""
    short = ["-".join(dict.fromkeys(PurePosixPath(cell).stem for cell in pair)) for pair in cells]
    counts = Counter(name.casefold() for name in short)
    whole = ["-".join(dict.fromkeys(map(_flat, pair))) for pair in cells]
    return [s if counts[s.casefold()] == 1 else w for s, w in zip(short, whole, strict=True)]


def _flat(cell: str) -> str:
    return "_".join(part for part in PurePosixPath(cell).with_suffix("").parts if part not in ("/", ".", ".."))


def _unfit(name: str, remedy: str) -> str:
    """Why a name cannot be a folder's among the results, and what to do; empty if it can."""
    reasons = {
        "is empty or starts with a dot": not name or name.startswith("."),
        "holds a character that names of folders must not": any(c in '/\\<>:"|?*' or ord(c) < 32 for c in name),
        f"is longer than {LONGEST} bytes": len(os.fsencode(name)) > LONGEST,
        "is that of the summary": name.casefold() in RESERVED,
    }
    return next((f"name {name!r} {reason}{remedy}" for reason, holds in reasons.items() if holds), "")


def _refuse_twice(path: Path, kind: str, keys: list[str], lines: list[int]) -> None:
    seen: dict[str, int] = {}
    for key, line in zip(keys, lines, strict=True):
        if key and key in seen:
            raise InputError(f"{path}, line {line}: the {kind} stands in line {seen[key]} already: give it once")
        seen[key] = line
