"""Descriptors of HPatches, {sequence: (16, n, D)}: one strip of n patches for each name in STRIPS.

They come from a describer (`describe`) or from the official files (`read_descriptors`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import STRIPS
from tiepoint.errors import InputError

MAX_VALUE = 1e15  # beyond it float32 cannot hold squared distances
Descriptors = Mapping[str, NDArray[np.float32]]


def strip_index(noise: str, image: int) -> int:
    """Row of STRIPS of an image 0..5 at noise "e", "h" or "t". Image 0, the reference, has one strip for all three."""
    return 0 if image == 0 else STRIPS.index(f"{noise}{image}")


def stack(label: str, strips: Mapping[str, NDArray[Any]], names: Sequence[str] = STRIPS) -> NDArray[np.float32]:
    """Join the strips of a sequence, (n, D) float32 each, into (len(names), n, D).

    Rows of zeros, as some describers give for constant patches, are allowed and count as any other.

    Raises:
        InputError: a strip is missing, of another shape or type, or holds NaN, infinity or values beyond 1e15; the
            message names the strip, LABEL/NAME.
    """
    for name in names:
        where = f"descriptors of {label}/{name}"
        if name not in strips:
            raise InputError(f"{where}: missing, a sequence needs {', '.join(names)}")
        strip, first = strips[name], strips[names[0]]
        if strip.ndim != 2 or not strip.size:
            raise InputError(f"{where}: shape {strip.shape}, must be (patches, dimension) and not empty")
        if strip.dtype != np.float32:
            raise InputError(f"{where}: {strip.dtype}, must be float32")
        if strip.shape[1] != first.shape[1]:
            raise InputError(f"{where}: {strip.shape[1]} dimensions where {names[0]} has {first.shape[1]}")
        if len(strip) != len(first):
            raise InputError(f"{where}: {len(strip)} patches where {names[0]} has {len(first)}")
        if not (np.abs(strip) <= MAX_VALUE).all():
            raise InputError(f"{where}: holds NaN, infinity or values beyond 1e15: describe this strip anew")
    return np.stack([strips[name] for name in names])


def same_dimension(descriptors: dict[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Return what came in. Raises InputError if it is empty or a sequence's dimension differs from the first's."""
    if not descriptors:
        raise InputError("descriptors hold no sequence")
    first, *others = descriptors
    for name in others:
        if descriptors[name].shape[2] != descriptors[first].shape[2]:
            raise InputError(
                f"descriptors of {name}: {descriptors[name].shape[2]} dimensions where {first} has "
                f"{descriptors[first].shape[2]}"
            )
    return descriptors


def read_descriptors(
    folder: str | Path,
    counts: Mapping[str, int],
    names: Sequence[str] = STRIPS,
    *,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Read the official layout: FOLDER/SEQUENCE/ref.csv, e1.csv ... t5.csv, one descriptor a line, no header.

    Numbers are separated by ',' or ';' and become float32.

    Args:
        folder: of one describer.
        counts: the sequences to read, and how many patches each has; other folders are left alone.
        names: of the strips.
        progress: called with (strips read, strips in all).

    Raises:
        InputError: a file is missing, no table of numbers or of another length, or as `stack` and `same_dimension`.
    """
    check_files(folder, counts, names)
    read = {}
    for number, (sequence, count) in enumerate(counts.items()):
        strips = {}
        for done, name in enumerate(names, number * len(names) + 1):
            path = Path(folder) / sequence / f"{name}.csv"
            strips[name] = _read_table(path)
            if len(strips[name]) != count:
                raise InputError(f"{path}: {len(strips[name])} descriptors where the data have {count} patches")
            if progress:
                progress(done, len(counts) * len(names))
        read[sequence] = stack(str(Path(folder) / sequence), strips, names)
    return same_dimension(read)


def check_files(folder: str | Path, sequences: Iterable[str], names: Sequence[str] = STRIPS) -> None:
    """Raise InputError for the first file that `read_descriptors` would miss."""
    for sequence in sequences:
        for name in names:
            path = Path(folder) / sequence / f"{name}.csv"
            if not path.is_file():
                raise InputError(f"{path} is missing: descriptors need SEQUENCE/{path.name} for every sequence")


def _read_table(path: Path) -> NDArray[np.float32]:
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline()
            separator = ";" if ";" in line else ","
            if separator not in line:
                raise InputError(f"{path}: its first line holds no ',' or ';' between numbers")
            file.seek(0)
            table = np.loadtxt(file, dtype=np.float32, delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:  # UnicodeDecodeError included
        raise (
            error if isinstance(error, InputError) else InputError(f"{path}: not a table of numbers ({error})")
        ) from None
    return np.asarray(table)
