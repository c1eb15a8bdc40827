"""Index files of published cross-spectral patch sets: each line names two patches and says whether they match.

    VISNIR     type, rgb image, x, y, nir image, x, y                          Aguilera et al., CVPRW 2016
    OS         folder, image, opt x, opt y, sar x, sar y, label                OS patch dataset, EFR-Net 2023
    SEN12      season, s1 folder, s1 image, x, y, s2 folder, s2 image, x, y, label     SEN1-2 patch dataset
    VISLWIR    image, number of the lwir patch, number of the optical patch, label     VIS-LWIR patch dataset, FIL-Net

Columns are separated by commas, with or without spaces. Labels are 1 or "positive", 0 or "negative". Empty lines and a
first line of column names are skipped.
"""

import csv
from array import array
from collections.abc import Iterator
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
    """The pairs of an index file; M of them."""

    path: Path
    lines: NDArray[np.int32]  # (M,) where each pair stands, counted from 1
    first: Side  # patches of the first spectrum: vis or opt
    second: Side  # patches of the second: nir, sar or lwir
    labels: NDArray[np.bool_]  # (M,) whether the pair matches

    def __len__(self) -> int:
        return len(self.lines)

    def where(self, row: int) -> str:
        """What errors call pair number `row`."""
        return f"{self.path}, line {self.lines[row]}"


@dataclass(frozen=True)
class Columns:
    """The names of an index file's columns, and which of them say what.

    Of the first and of the second patch: the columns of the image's name, joined by "/", and those of the location.
    """

    names: tuple[str, ...]
    first: tuple[tuple[int, ...], tuple[int, ...]]
    second: tuple[tuple[int, ...], tuple[int, ...]]
    label: int


VISNIR = Columns(("type", "rgb", "rgb x", "rgb y", "nir", "nir x", "nir y"), ((1,), (2, 3)), ((4,), (5, 6)), 0)
OS = Columns(("folder", "image", "opt x", "opt y", "sar x", "sar y", "label"), ((0, 1), (2, 3)), ((0, 1), (4, 5)), 6)
SEN12 = Columns(  # SAR stands first in a line, and second here, as in the OS patches
    ("season", "s1 folder", "s1 image", "s1 x", "s1 y", "s2 folder", "s2 image", "s2 x", "s2 y", "label"),
    ((0, 5, 6), (7, 8)), ((0, 1, 2), (3, 4)), 9,
)  # fmt: skip
VISLWIR = Columns(("image", "lwir patch", "optical patch", "label"), ((0,), (2,)), ((0,), (1,)), 3)


def read_index(path: str | Path, columns: Columns) -> CrossIndex:
    """Read an index file.

    Raises InputError that names the file, and the line where there is one: no such file, no text, no pairs, a wrong
    number of columns, an unknown label, a coordinate that is not a whole number from 0, an empty name.
    """
    path = Path(path)
    lines, labels = array("i"), array("b")
    ids: tuple[dict[str, int], dict[str, int]] = {}, {}
    images, locations = (array("i"), array("i")), (array("i"), array("i"))
    patches = (columns.first, columns.second)
    for line, row in _rows(path):
        where = f"{path}, line {line}"
        if len(row) != len(columns.names):
            needed = f"{len(columns.names)}: {', '.join(columns.names)}"
            raise InputError(f"{where}: has {len(row)} columns, must have {needed}")
        label = LABELS.get(row[columns.label].strip().lower())
        if label is None:
            if line == 1 and all(_integer(row[column]) is None for _, place in patches for column in place):
                continue  # names of the columns
            name = columns.names[columns.label]
            raise InputError(f"{where}: {name} is {row[columns.label]!r}: must be 1 or 0, positive or negative")
        for side, (naming, place) in enumerate(patches):
            words = [row[column].strip() for column in naming]
            if "" in words:
                raise InputError(f"{where}: {columns.names[naming[words.index('')]]} is empty: must name an image")
            for column in place:
                number = _integer(row[column])
                if number is None or not 0 <= number <= MAX_COORDINATE:
                    fault = f"is {row[column]!r}: must be a whole number from 0 to {MAX_COORDINATE}"
                    raise InputError(f"{where}: {columns.names[column]} {fault}")
                locations[side].append(number)
            images[side].append(ids[side].setdefault("/".join(words), len(ids[side])))
        lines.append(line)
        labels.append(label)
    if not lines:
        raise InputError(f"{path}: holds no pairs: copy it again")
    first, second = (
        Side(np.array(images[side]), list(ids[side]), np.array(locations[side]).reshape(len(lines), -1))
        for side in (0, 1)
    )
    return CrossIndex(path, np.array(lines), first, second, np.array(labels, dtype=np.bool_))


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
