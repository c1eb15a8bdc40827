"""UBC PhotoTour (Brown, Hua & Winder, PAMI 2011), sets in its layout and torchvision's cache of it, to a PatchSet.

A folder or zip holds pages of 64x64 tiles (patches*.bmp, by others also .png and .tif), read row by row, page after
page in the order of their names, and beside them:

    info.txt         line k: the point id of patch k, then unused columns; tiles after the last line are empty
    interest.txt     line k: the image that patch k comes from, then its keypoint; may be missing
    m50_*_*_0.txt    pairs, half of them matches: patch, its point, unused, patch, its point, unused, unused
"""

import io
import re
import zipfile
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.data.fetching.archive import Archive
from tiepoint.errors import InputError
from tiepoint.files import read_plain
from tiepoint.patches import REBUILD, SIZE, PatchSet, map_npy
from tiepoint.types import Progress, Rows

PAGES = (".bmp", ".png", ".tif", ".tiff")
PAIRS = re.compile(r"m\d+_\d+_\d+_\d+\.txt")
CACHED_PAIRS = "m50_100000_100000_0"  # the one file of pairs that torchvision keeps
_BLOCK = 4096  # patches of a cache that are copied at once
# The patches of the published sets.
SETS = {
    "liberty": 450_092,
    "notredame": 468_159,
    "yosemite": 633_587,
    "liberty_harris": 379_587,
    "notredame_harris": 325_295,
    "yosemite_harris": 450_912,
}


def build_phototour(
    source: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Write a set as a PatchSet, its files of pairs beside the patches; see `read_pairs`.

    Point ids stay as published. Patches are kept as they are; the whole of each is a network's input, so the margin is
    1. How many sigmas they show is not published, so the manifest's support has its default. Pages may be of any size
    in tiles. The cache does not say which images the patches come from.

    `source` is the zip as distributed, a folder of pages and text files, or torchvision's cache (.pt); `out` must not
    exist; a `name` of `SETS`, by default the source's own, has to be complete; `progress` is called with (patches done,
    patches in all).

    Raises InputError that names the file, and the line where there is one: info.txt or pages missing, a word that is
    not a number, pairs of patches that do not exist or whose points contradict info.txt, files of different lengths, a
    damaged page or one that is not made of 64x64 tiles, a file that is no such cache; or a set of `SETS` that is not
    complete.
    """
    source = Path(source)
    name = name or (source.resolve().name if source.is_dir() else source.stem)
    published = _read_cache(source) if source.suffix in (".pt", ".pth") else _read_folder(source)
    count = len(published.points)
    if count != SETS.get(name, count):
        remedy = "copy it again, or give a part of it another name"
        raise InputError(f"{source}: has {count} patches, the published {name} {SETS[name]}: {remedy}")
    provenance: dict[str, Any] = {
        "builder": "tiepoint data phototour",
        "name": name,
        "source": source.name,
        "support": "not published; the whole patch is the network's input",
        "images": "not known, taken as one" if published.sources is None else "interest.txt",
        "pairs": {key: len(rows) for key, rows in published.pairs.items()},
    }
    with PatchSet.create(out, count, dtype=published.dtype, provenance=provenance, licence=licence) as writer:
        for key, rows in published.pairs.items():
            np.save(writer.directory / _file_name(key), rows)
        for block in published.blocks:
            done = writer.append(block[:, None])
            if progress:
                progress(done, count)
        writer.points[:] = published.points
        if published.sources is None:
            writer.image_names.append(name)
        else:
            ids, writer.images[:] = np.unique(published.sources, return_inverse=True)
            writer.image_names += [f"{name}/{number}" for number in ids]
    return PatchSet.open(out)


def read_pairs(directory: str | Path, name: str = "m50_100000_100000_0") -> Rows:
    """Rows (M, 2) int64 of a published list of pairs, in its order. They match where their point ids are equal.

    The default is the list of the published protocol: 50,000 matches and as many non-matches. Raises InputError where
    the PatchSet has no such list, or one that does not fit its patches.
    """
    patch_set = PatchSet.open(directory)
    path = patch_set.directory / _file_name(name)
    if not path.is_file():
        present = sorted(file.stem.removeprefix("pairs-") for file in patch_set.directory.glob("pairs-*.npy"))
        raise InputError(f"{path} is missing: the PatchSet has {', '.join(present) or 'no lists of pairs'}")
    rows = np.asarray(map_npy(path, REBUILD))
    fits = rows.ndim == 2 and rows.shape[1] == 2 and rows.dtype == np.int64 and len(rows) > 0
    if not fits or rows.min() < 0 or rows.max() >= len(patch_set):
        raise InputError(f"{path}: holds no rows of the PatchSet: build it again")
    return rows


def _file_name(name: str) -> str:
    return f"pairs-{name}.npy"


@dataclass(frozen=True)
class _Published:
    """A set as published; nothing of its patches is in memory.

    Point ids (N,); ids (N,) of the images that patches come from, if known; rows (M, 2) of each file of pairs; the
    patches' dtype, uint8 or uint16; and what yields them in order, some at a time, (n, 64, 64).
    """

    points: Rows
    sources: Rows | None
    pairs: dict[str, Rows]
    dtype: np.dtype[Any]
    blocks: Iterator[NDArray[Any]]


def _read_folder(path: Path) -> _Published:
    archive = Archive(path)
    infos = [name for name in archive.names if name.rpartition("/")[2] == "info.txt"]
    if len(infos) != 1:
        needed = "must be one, beside pages such as patches0000.bmp"
        raise InputError(f"{path}: holds {len(infos)} files info.txt, {needed}")
    folder = infos[0].removesuffix("info.txt")
    files = [name for name in archive.names if name.startswith(folder) and "/" not in name.removeprefix(folder)]
    pages = sorted((name for name in files if name.lower().endswith(PAGES)), key=_natural)
    kinds = sorted({name.lower().rpartition(".")[2] for name in pages})
    if len(kinds) != 1:
        held = f"pages of several kinds ({', '.join(kinds)}): keep one" if kinds else "no pages such as patches0000.bmp"
        raise InputError(f"{archive.label(folder)}: holds {held}")
    points = _read_columns(archive, infos[0], (0,))[:, 0]
    if points.min() < 0:
        line = int(np.argmax(points < 0)) + 1
        raise InputError(f"{archive.label(infos[0])}, line {line}: point id {points[line - 1]}: must not be negative")
    sources, interest = None, f"{folder}interest.txt"
    if interest in files:
        sources = _read_columns(archive, interest, (0,))[:, 0]
        if len(sources) != len(points):
            lines = f"has {len(sources)} lines, info.txt {len(points)}"
            raise InputError(f"{archive.label(interest)}: {lines}: each patch needs one line in both")
    pairs = {}
    for name in files:
        if PAIRS.fullmatch(name.removeprefix(folder)):
            rows = _read_columns(archive, name, (0, 3, 1, 4))
            _check_pairs(rows[:, :2], rows[:, 2] == rows[:, 3], points, f"{archive.label(name)}, line")
            pairs[Path(name).stem] = rows[:, :2]
    dtype = archive.read_grey(pages[0]).dtype
    return _Published(points, sources, pairs, dtype, _read_pages(archive, pages, len(points), dtype, infos[0]))


def _read_cache(path: Path) -> _Published:
    # Mapped, since the largest set is 2.6 GB. Files of torch before 1.6 are no zips and cannot be.
    content = read_plain(path, mmap=zipfile.is_zipfile(path))
    right = isinstance(content, tuple | list) and len(content) == 3 and all(isinstance(t, Tensor) for t in content)
    patches, labels, matches = content if right else (torch.empty(0),) * 3
    count, *tile = patches.shape or (0,)
    right = count > 0 and tile == [SIZE, SIZE] and labels.shape == (count,) and matches.shape[1:] == (3,)
    if not right or patches.dtype != torch.uint8 or not {labels.dtype, matches.dtype} <= {torch.int64, torch.int32}:
        needed = "must hold patches (N, 64, 64) uint8, labels (N,) and matches (M, 3)"
        raise InputError(f"{path}: is not a cache of PhotoTour: {needed}")
    points, rows = labels.numpy().astype(np.int64), matches.numpy().astype(np.int64)
    if points.min() < 0:
        raise InputError(f"{path}: a point id is negative")
    _check_pairs(rows[:, :2], rows[:, 2] != 0, points, f"{path}, match")
    pairs = {CACHED_PAIRS: rows[:, :2]} if len(rows) else {}
    blocks = (patches[k : k + _BLOCK].numpy() for k in range(0, count, _BLOCK))
    return _Published(points, None, pairs, np.dtype(np.uint8), blocks)


def _check_pairs(rows: Rows, matching: NDArray[np.bool_], points: Rows, label: str) -> None:
    """Raise InputError, with `label` and the pair's number from 1, for a missing patch or a label that points deny."""
    missing = ((rows < 0) | (rows >= len(points))).any(axis=1)
    if missing.any():
        line = int(np.argmax(missing))
        raise InputError(f"{label} {line + 1}: patches {rows[line].tolist()}: there are {len(points)}, counted from 0")
    wrong = (points[rows[:, 0]] == points[rows[:, 1]]) != matching
    if wrong.any():
        line = int(np.argmax(wrong))
        said, ids = ("match", "differ") if matching[line] else ("do not match", "are equal")
        raise InputError(f"{label} {line + 1}: says that patches {rows[line].tolist()} {said}, but their points {ids}")


def _read_columns(archive: Archive, name: str, columns: Sequence[int]) -> Rows:
    """Columns (lines, len(columns)) of a text file of whole numbers."""
    rows = array("q")
    text = io.TextIOWrapper(io.BytesIO(archive.read(name).rstrip()), encoding="ascii", errors="replace")
    for number, line in enumerate(text, start=1):
        words = line.split()
        try:
            row = [int(words[column]) for column in columns]
        except (ValueError, IndexError):
            row = []
        if not row or max(value.bit_length() for value in row) > 63:
            wanted = ", ".join(str(column + 1) for column in sorted(columns))
            where = f"{archive.label(name)}, line {number}"
            raise InputError(f"{where}: {line.rstrip()[:40]!r}: must have a whole number in column {wanted}")
        rows.extend(row)
    if not rows:
        raise InputError(f"{archive.label(name)}: is empty: copy it again")
    return np.frombuffer(rows, dtype=np.int64).reshape(-1, len(columns))


def _read_pages(
    archive: Archive, pages: Sequence[str], count: int, dtype: np.dtype[Any], info: str
) -> Iterator[NDArray[Any]]:
    """The first `count` tiles of the pages, a page at a time."""
    done = 0
    for name in pages:
        page, label = archive.read_grey(name), archive.label(name)
        height, width = page.shape
        if height % SIZE or width % SIZE:
            raise InputError(f"{label}: is {width} x {height} pixels: must be made of 64 x 64 tiles")
        if page.dtype != dtype:
            raise InputError(f"{label}: is {page.dtype}, the first page {dtype}: give pages of one depth")
        if done == count and page.min() != page.max():
            raise InputError(f"{label}: has patches, but info.txt ends after {count} lines: copy it again")
        tiles = page.reshape(height // SIZE, SIZE, width // SIZE, SIZE).swapaxes(1, 2).reshape(-1, SIZE, SIZE)
        yield tiles[: count - done]
        done += len(tiles[: count - done])
    if done < count:
        raise InputError(f"{archive.label(info)}, line {done + 1}: the {len(pages)} pages hold only {done} patches")


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which page 10 comes after page 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
