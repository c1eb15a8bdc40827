"""Patches in the layout of UBC PhotoTour (Brown, Hua & Winder, PAMI 2011), and in torchvision's cache of it.

A folder or zip holds pages of 64x64 tiles (patches*.bmp, by others also .png and .tif), read row by row, page after
page in the order of their names, and beside them:

    info.txt         line k: the point id of patch k, then unused columns; tiles after the last line are empty
    interest.txt     line k: the image that patch k comes from, then its keypoint; may be missing
    m50_*_*_0.txt    pairs, half of them matches: patch, its point, unused, patch, its point, unused, unused
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Callable, Iterator, Sequence
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
from tiepoint.patches import SIZE

Ids = NDArray[np.int64]
PAGES = (".bmp", ".png", ".tif", ".tiff")
PAIRS = re.compile(r"m\d+_\d+_\d+_\d+\.txt")
CACHED_PAIRS = "m50_100000_100000_0"  # the one file of pairs that torchvision keeps
_BLOCK = 4096  # patches of a cache that are copied at once


@dataclass(frozen=True)
class BrownPatches:
    """A data set as published; nothing of its patches is in memory.

    Attributes:
        points: (N,) point ids, any numbers from 0.
        sources: (N,) ids of the images that patches come from; None if that is not known.
        pairs: name of a file of pairs -> (M, 2) rows.
        dtype: of the patches, uint8 or uint16.
        blocks: yields the patches in order, some at a time, (n, 64, 64).
    """

    points: Ids
    sources: Ids | None
    pairs: dict[str, Ids]
    dtype: np.dtype[Any]
    blocks: Callable[[], Iterator[NDArray[Any]]]


def read_folder(path: str | Path) -> BrownPatches:
    """Read a folder or zip of pages and text files. Pages may be of any size in tiles.

    Raises:
        InputError: names the file, and the line where there is one: info.txt or pages missing, a word that is not a
            number, pairs of patches that do not exist or whose points contradict info.txt, files of different lengths.
            Iterating `blocks` raises it for a damaged page, one that is not made of 64x64 tiles, and for fewer tiles
            than lines in info.txt.
    """
    archive = Archive(path)
    infos = [name for name in archive.names if name.rpartition("/")[2] == "info.txt"]
    if len(infos) != 1:
        raise InputError(
            f"{path}: holds {len(infos)} files info.txt, must be one, beside pages such as patches0000.bmp"
        )
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
    sources = None
    if f"{folder}interest.txt" in files:
        sources = _read_columns(archive, f"{folder}interest.txt", (0,))[:, 0]
        if len(sources) != len(points):
            label = archive.label(f"{folder}interest.txt")
            raise InputError(
                f"{label}: has {len(sources)} lines, info.txt {len(points)}: each patch needs one line in both"
            )
    pairs = {}
    for name in files:
        if PAIRS.fullmatch(name.removeprefix(folder)):
            rows = _read_columns(archive, name, (0, 3, 1, 4))
            check_pairs(rows[:, :2], rows[:, 2] == rows[:, 3], points, f"{archive.label(name)}, line")
            pairs[Path(name).stem] = rows[:, :2]
    dtype = archive.read_grey(pages[0]).dtype
    return BrownPatches(
        points, sources, pairs, dtype, lambda: _read_pages(archive, pages, len(points), dtype, infos[0])
    )


def read_cache(path: str | Path) -> BrownPatches:
    """Read torchvision's cache: (patches (N, 64, 64) uint8, labels (N,), matches (M, 3)); images are not known.

    Raises InputError for a file that is damaged, holds something else, or whose matches contradict its labels.
    """
    # Mapped, since the largest set is 2.6 GB. Files of torch before 1.6 are no zips and cannot be.
    content = read_plain(path, mmap=zipfile.is_zipfile(path))
    patches, labels, matches = _unpack(content, str(path))
    points, rows = labels.numpy().astype(np.int64), matches.numpy().astype(np.int64)
    if points.min() < 0:
        raise InputError(f"{path}: a point id is negative")
    check_pairs(rows[:, :2], rows[:, 2] != 0, points, f"{path}, match")
    pairs = {CACHED_PAIRS: rows[:, :2]} if len(rows) else {}
    starts = range(0, len(patches), _BLOCK)
    return BrownPatches(
        points, None, pairs, np.dtype(np.uint8), lambda: (patches[k : k + _BLOCK].numpy() for k in starts)
    )


def check_pairs(rows: Ids, matching: NDArray[np.bool_], points: Ids, label: str) -> None:
    """Raise InputError at the first pair, counted from 1, of a patch that is missing or whose label is not its points'.

    `label` is what the error calls a pair, without its number.
    """
    missing = ((rows < 0) | (rows >= len(points))).any(axis=1)
    if missing.any():
        line = int(np.argmax(missing))
        raise InputError(f"{label} {line + 1}: patches {rows[line].tolist()}: there are {len(points)}, counted from 0")
    wrong = (points[rows[:, 0]] == points[rows[:, 1]]) != matching
    if wrong.any():
        line = int(np.argmax(wrong))
        said, ids = ("match", "differ") if matching[line] else ("do not match", "are equal")
        raise InputError(f"{label} {line + 1}: says that patches {rows[line].tolist()} {said}, but their points {ids}")


def _read_columns(archive: Archive, name: str, columns: Sequence[int]) -> Ids:
    """Columns (lines, len(columns)) of a text file of whole numbers."""
    rows = []
    for number, line in enumerate(archive.read(name).decode("ascii", errors="replace").rstrip().splitlines(), start=1):
        words = line.split()
        try:
            row = [int(words[column]) for column in columns]
        except (ValueError, IndexError):
            row = []
        if not row or max(value.bit_length() for value in row) > 63:
            wanted = ", ".join(str(column + 1) for column in sorted(columns))
            where = f"{archive.label(name)}, line {number}"
            raise InputError(f"{where}: {line[:40]!r}: must have a whole number in column {wanted}")
        rows.append(row)
    if not rows:
        raise InputError(f"{archive.label(name)}: is empty: copy it again")
    return np.array(rows, dtype=np.int64)


def _read_pages(
    archive: Archive, pages: Sequence[str], count: int, dtype: np.dtype[Any], info: str
) -> Iterator[NDArray[Any]]:
    """The first `count` tiles of the pages, a page at a time."""
    done = 0
    for name in pages:
        page = archive.read_grey(name)
        height, width = page.shape
        if height % SIZE or width % SIZE:
            raise InputError(f"{archive.label(name)}: is {width} x {height} pixels: must be made of 64 x 64 tiles")
        if page.dtype != dtype:
            raise InputError(f"{archive.label(name)}: is {page.dtype}, the first page {dtype}: give pages of one depth")
        if done == count and page.min() != page.max():
            raise InputError(
                f"{archive.label(name)}: has patches, but info.txt ends after {count} lines: copy it again"
            )
        tiles = page.reshape(height // SIZE, SIZE, width // SIZE, SIZE).swapaxes(1, 2).reshape(-1, SIZE, SIZE)
        tiles = tiles[: count - done]
        done += len(tiles)
        yield tiles
    if done < count:
        raise InputError(f"{archive.label(info)}, line {done + 1}: the {len(pages)} pages hold only {done} patches")


def _unpack(content: Any, name: str) -> tuple[Tensor, Tensor, Tensor]:
    """Patches, labels and matches of a cache."""
    if isinstance(content, tuple | list) and len(content) == 3 and all(isinstance(t, Tensor) for t in content):
        patches, labels, matches = content
        count, *tile = patches.shape or (0,)
        is_set = count > 0 and tile == [SIZE, SIZE] and labels.shape == (count,) and matches.shape[1:] == (3,)
        if is_set and patches.dtype == torch.uint8 and {labels.dtype, matches.dtype} <= {torch.int64, torch.int32}:
            return patches, labels, matches
    raise InputError(
        f"{name}: is not a cache of PhotoTour: must hold patches (N, 64, 64) uint8, labels (N,) and matches (M, 3)"
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key under which page 10 comes after page 9."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]
