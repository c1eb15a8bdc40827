"""Index files of published cross-spectral patch sets: each line names two patches and says whether they match.

    VISNIR     type, rgb image, x, y, nir image, x, y                          Aguilera et al., CVPRW 2016
    OS         folder, image, opt x, opt y, sar x, sar y, label                OS patch dataset, EFR-Net 2023
    SEN12      season, s1 folder, s1 image, x, y, s2 folder, s2 image, x, y, label     SEN1-2 patch dataset
    VISLWIR    image, number of the lwir patch, number of the optical patch, label     VIS-LWIR patch dataset, FIL-Net

Columns are separated by commas, with or without spaces. Labels are 1 or "positive", 0 or "negative". Empty lines and a
first line of column names are skipped.
"""

from __future__ import annotations

import csv
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError

LABELS = {"1": True, "positive": True, "0": False, "negative": False}
MAX_COORDINATE = 2**15 - 1  # px, and of the numbers of patches: a larger one is a slip, not an image


@dataclass(frozen=True)
class Side:
    """One patch of each pair: images (M,) int32, indices into `names`; locations (M, K) int32.

    A location is the keypoint (x, y) in pixels, K = 2, or the number of the patch in its image, K = 1.
    """

    images: NDArray[np.int32]
    names: list[str]
    locations: NDArray[np.int32]


@dataclass(frozen=True)
class CrossIndex:
    """The pairs of an index file; M of them.

    Attributes:
        path: the file.
        lines: (M,) int32, where each pair stands, counted from 1.
        first: patches of the first spectrum: vis or opt.
        second: patches of the second: nir, sar or lwir.
        labels: (M,) bool, whether the pair matches.
    """

    path: Path
    lines: NDArray[np.int32]
    first: Side
    second: Side
    labels: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """What errors call pair number `row`."""
        return f"{self.path}, line {self.lines[row]}"


@dataclass(frozen=True)
class Columns:
    """The names of an index file's columns, and which of them say what of the first and of the second patch."""

    names: tuple[str, ...]
    first: tuple[int, ...]  # of the image's name, joined by "/"
    first_location: tuple[int, ...]
    second: tuple[int, ...]
    second_location: tuple[int, ...]
    label: int


VISNIR = Columns(("type", "rgb", "rgb x", "rgb y", "nir", "nir x", "nir y"), (1,), (2, 3), (4,), (5, 6), 0)
OS = Columns(("folder", "image", "opt x", "opt y", "sar x", "sar y", "label"), (0, 1), (2, 3), (0, 1), (4, 5), 6)
SEN12 = Columns(  # SAR stands first in a line, and second here, as in the OS patches
    ("season", "s1 folder", "s1 image", "s1 x", "s1 y", "s2 folder", "s2 image", "s2 x", "s2 y", "label"),
    (0, 5, 6), (7, 8), (0, 1, 2), (3, 4), 9,
)  # fmt: skip
VISLWIR = Columns(("image", "lwir patch", "optical patch", "label"), (0,), (2,), (0,), (1,), 3)


def read_index(path: str | Path, columns: Columns) -> CrossIndex:
    """Read an index file.

    Raises:
        InputError: names the file, and the line where there is one: no such file, no text, no pairs, a wrong number of
            columns, an unknown label, a coordinate that is not a whole number from 0, an empty name.
    """
    path = Path(path)
    lines, labels = array("i"), array("b")
    first, second = (
        _Collector(columns.first, columns.first_location),
        _Collector(columns.second, columns.second_location),
    )
    numbers = (*columns.first_location, *columns.second_location)
    for line, row in _rows(path):
        where = f"{path}, line {line}"
        if len(row) != len(columns.names):
            needed = f"{len(columns.names)}: {', '.join(columns.names)}"
            raise InputError(f"{where}: has {len(row)} columns, must have {needed}")
        label = LABELS.get(row[columns.label].strip().lower())
        if label is None:
            if not lines and line == 1 and all(_integer(row[column]) is None for column in numbers):
                continue  # names of the columns
            name = columns.names[columns.label]
            raise InputError(f"{where}: {name} is {row[columns.label]!r}: must be 1 or 0, positive or negative")
        try:
            first.add(row)
            second.add(row)
        except ValueError as error:
            column, fault = error.args
            raise InputError(f"{where}: {columns.names[column]} is {fault}") from None
        lines.append(line)
        labels.append(label)
    if not lines:
        raise InputError(f"{path}: holds no pairs: copy it again")
    known = np.array(labels, dtype=np.bool_)
    return CrossIndex(path, np.array(lines, dtype=np.int32), first.side(), second.side(), known)


class _Collector:
    """Collects one side of the pairs: names once each, locations as whole numbers."""

    def __init__(self, name: Sequence[int], location: Sequence[int]) -> None:
        self.name, self.location = name, location
        self.ids: dict[str, int] = {}
        self.images, self.locations = array("i"), array("i")

    def add(self, row: Sequence[str]) -> None:
        """Take the patch that a line names. Raises ValueError(column, fault) for the first column without a use."""
        words = [row[column].strip() for column in self.name]
        if "" in words:
            raise ValueError(self.name[words.index("")], "empty: must name an image")
        for column in self.location:
            number = _integer(row[column])
            if number is None or not 0 <= number <= MAX_COORDINATE:
                raise ValueError(column, f"{row[column]!r}: must be a whole number from 0 to {MAX_COORDINATE}")
            self.locations.append(number)
        self.images.append(self.ids.setdefault("/".join(words), len(self.ids)))

    def side(self) -> Side:
        locations = np.array(self.locations, dtype=np.int32).reshape(-1, len(self.location))
        return Side(np.array(self.images, dtype=np.int32), list(self.ids), locations)


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """Lines that are not empty, counted from 1, split into columns."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, skipinitialspace=True)
            for row in reader:
                if row and (len(row) > 1 or row[0].strip()):
                    yield reader.line_num, row
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"{path}: is not a text of columns ({error}): copy it again") from None


def _integer(word: str) -> int | None:
    try:
        return int(word)
    except ValueError:
        return None
