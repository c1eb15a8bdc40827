"""Index files of published cross-spectral patch sets: lines of text that name two patches and say whether they match.

    VIS-NIR     type, rgb image, x, y, nir image, x, y                          Aguilera et al., CVPRW 2016
    OS          folder, image, opt x, opt y, sar x, sar y, label                OS patch dataset, EFR-Net 2023
    SEN1-2      season, s1 folder, s1 image, x, y, s2 folder, s2 image, x, y, label     SEN1-2 patch dataset
    VIS-LWIR    image, number of the lwir patch, number of the optical patch, label     VIS-LWIR patch dataset, FIL-Net

Columns are separated by commas, with or without spaces. Labels are 1 or "positive", 0 or "negative". Empty lines are
passed over, and so is a first line of column names.
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
MOST = 2**15  # coordinates and numbers of patches beyond it are a slip, not an image


@dataclass(frozen=True)
class Side:
    """One patch of each pair: images (M,) int32, indices into `names`; places (M, K) int32.

    A place is the keypoint (x, y) in pixels, K = 2, or the number of the patch in its image, K = 1.
    """

    images: NDArray[np.int32]
    names: list[str]
    places: NDArray[np.int32]


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
class _Layout:
    """Which columns of a line say what."""

    columns: tuple[str, ...]
    first: tuple[int, ...]  # of the image's name, joined by "/"
    first_place: tuple[int, ...]
    second: tuple[int, ...]
    second_place: tuple[int, ...]
    label: int


_VISNIR = _Layout(("type", "rgb", "rgb x", "rgb y", "nir", "nir x", "nir y"), (1,), (2, 3), (4,), (5, 6), 0)
_OS = _Layout(("folder", "image", "opt x", "opt y", "sar x", "sar y", "label"), (0, 1), (2, 3), (0, 1), (4, 5), 6)
_SEN12 = _Layout(
    ("season", "s1 folder", "s1 image", "s1 x", "s1 y", "s2 folder", "s2 image", "s2 x", "s2 y", "label"),
    (0, 5, 6), (7, 8), (0, 1, 2), (3, 4), 9,
)  # fmt: skip
_VISLWIR = _Layout(("image", "lwir patch", "optical patch", "label"), (0,), (2,), (0,), (1,), 3)


def read_visnir(path: str | Path) -> CrossIndex:
    """Read the list of a category of the VIS-NIR patches. Names stand as written, mostly "0001_rgb.tiff".

    Raises:
        InputError: names the file, and the line where there is one: no such file, no text, no pairs, a wrong number of
            columns, a label that is none, a coordinate that is no whole number from 0, an empty name. So do the others.
    """
    return _read(Path(path), _VISNIR)


def read_os(path: str | Path) -> CrossIndex:
    """Read an index of the OS patches. An image's name is "folder/number", the same in both spectra."""
    return _read(Path(path), _OS)


def read_sen12(path: str | Path) -> CrossIndex:
    """Read an index of the SEN1-2 patches; SAR stands first in a line, and second here, as in the OS patches.

    An image's name is its path, "season/folder/file".
    """
    return _read(Path(path), _SEN12)


def read_vislwir(path: str | Path) -> CrossIndex:
    """Read an index of the VIS-LWIR patches, whose places are numbers of patches, K = 1. LWIR stands second here."""
    return _read(Path(path), _VISLWIR)


def _read(path: Path, layout: _Layout) -> CrossIndex:
    lines, labels = array("i"), array("b")
    first, second = _Collector(layout.first, layout.first_place), _Collector(layout.second, layout.second_place)
    numbers = (*layout.first_place, *layout.second_place)
    for line, row in _rows(path):
        if len(row) != len(layout.columns):
            raise InputError(
                f"{path}, line {line}: has {len(row)} columns, must have {len(layout.columns)}: "
                f"{', '.join(layout.columns)}"
            )
        label = LABELS.get(row[layout.label].strip().lower())
        if label is None:
            if not lines and line == 1 and not any(_is_number(row[column]) for column in numbers):
                continue  # names of the columns
            name = layout.columns[layout.label]
            raise InputError(
                f"{path}, line {line}: {name} is {row[layout.label]!r}: must be 1 or 0, positive or negative"
            )
        try:
            first.add(row)
            second.add(row)
        except ValueError:
            raise _explain(path, line, row, layout) from None
        lines.append(line)
        labels.append(label)
    if not lines:
        raise InputError(f"{path}: holds no pairs: copy it again")
    return CrossIndex(
        path,
        np.array(lines, dtype=np.int32),
        first.side(),
        second.side(),
        np.array(labels, dtype=np.bool_),
    )


class _Collector:
    """Collects one side of the pairs: names once each, places as whole numbers."""

    def __init__(self, name: Sequence[int], place: Sequence[int]) -> None:
        self.name, self.place = name, place
        self.ids: dict[str, int] = {}
        self.images, self.places = array("i"), array("i")

    def add(self, row: Sequence[str]) -> None:
        """Raises ValueError for a place that is none and for an empty name; `_explain` says which."""
        places = [int(row[column]) for column in self.place]
        words = [row[column].strip() for column in self.name]
        if not all(words) or not all(0 <= number < MOST for number in places):
            raise ValueError
        self.images.append(self.ids.setdefault("/".join(words), len(self.ids)))
        self.places.extend(places)

    def side(self) -> Side:
        places = np.array(self.places, dtype=np.int32).reshape(-1, len(self.place))
        return Side(np.array(self.images, dtype=np.int32), list(self.ids), places)


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
        raise InputError(f"{path}: is no text of columns ({error}): copy it again") from None


def _is_number(word: str) -> bool:
    try:
        int(word)
    except ValueError:
        return False
    return True


def _explain(path: Path, line: int, row: Sequence[str], layout: _Layout) -> InputError:
    """The error that names the column which `_Collector.add` cannot use."""
    for column in (*layout.first, *layout.second):
        if not row[column].strip():
            return InputError(f"{path}, line {line}: {layout.columns[column]} is empty: must name an image")
    numbers = (*layout.first_place, *layout.second_place)
    wrong = next(column for column in numbers if not _is_number(row[column]) or not 0 <= int(row[column]) < MOST)
    return InputError(
        f"{path}, line {line}: {layout.columns[wrong]} is {row[wrong]!r}: must be a whole number from 0 to {MOST - 1}"
    )
