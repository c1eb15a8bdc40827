"""Descriptors of HPatches, {sequence: (16, n, D)}: one strip of n patches for each name in STRIPS.

They come from a describer (`describe`) or from the official files (`read_descriptors`). `zca` and `apply` are the
normalisation under which HPatches reports handcrafted descriptors.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.hpatches import STRIPS, HPatches
from tiepoint.errors import InputError
from tiepoint.evaluation.options import Resize
from tiepoint.evaluation.phototour.fpr95 import resizing
from tiepoint.evaluation.verification import BATCH, Describe, as_float, unit_vectors
from tiepoint.types import Progress, tracked

MAX_VALUE = 1e15  # beyond it float32 cannot hold squared distances
CLIP_SHARE = 0.6  # eigenvalues below the one at this share of their sorted list are raised to it
StripOf = Callable[[str, str], NDArray[np.float32]]  # sequence and name of a strip -> its descriptors (n, D)
Descriptors = Mapping[str, NDArray[np.float32]]


def strip_index(noise: str, image: int) -> int:
    """Row of STRIPS of an image 0..5 at noise "e", "h" or "t". Image 0, the reference, has one strip for all three."""
    return 0 if image == 0 else STRIPS.index(f"{noise}{image}")


def describe(
    patches: HPatches,
    label: str,
    describer: Describe,
    sequences: Sequence[str],
    names: Sequence[str] = STRIPS,
    *,
    resize: Resize = "antialias",
    progress: Progress | None = None,
) -> dict[str, NDArray[np.float32]]:
    """Describe strips of sequences: sequence -> (len(names), n, D) float32.

    "antialias" hands the patches over as they are, 65 pixels wide, and the describer reduces them as it does
    everywhere. "cv2" reduces them first to its `input_size` by OpenCV's bilinear interpolation, without antialiasing,
    as the scripts of HardNet and HyNet do; the numbers differ.

    Errors call the describer `label`. `progress` is called with (strips described, strips in all). Raises InputError
    for descriptors that hold NaN or infinity, or that `stack` refuses.
    """
    describer = resizing(describer, resize)

    def strip_of(sequence: str, name: str) -> NDArray[np.float32]:
        strip = patches.strip(sequence, name)
        parts = np.split(strip, range(BATCH, len(strip), BATCH))
        return np.concatenate([unit_vectors(label, describer, as_float(part[:, None])) for part in parts])

    return _gathered({sequence: f"{label}, {sequence}" for sequence in sequences}, names, strip_of, progress)


def read_descriptors(
    folder: str | Path, counts: Mapping[str, int], names: Sequence[str] = STRIPS, *, progress: Progress | None = None
) -> dict[str, NDArray[np.float32]]:
    """Read the official layout: FOLDER/SEQUENCE/ref.csv, e1.csv ... t5.csv, one descriptor a line, no header.

    Numbers are separated by ',' or ';' and become float32. The sequences read are those of `counts`, which says how
    many patches each has; `progress` is called with (strips read, strips in all). Raises InputError where a file is
    missing, no table of numbers or of another length, or as `stack` and `same_dimension`.
    """
    check_files(folder, counts, names)

    def strip_of(sequence: str, name: str) -> NDArray[np.float32]:
        path = Path(folder) / sequence / f"{name}.csv"
        strip = _read_table(path)
        if len(strip) != counts[sequence]:
            raise InputError(f"{path}: {len(strip)} descriptors where the data have {counts[sequence]} patches")
        return strip

    return _gathered({sequence: str(Path(folder) / sequence) for sequence in counts}, names, strip_of, progress)


def check_files(folder: str | Path, sequences: Iterable[str], names: Sequence[str] = STRIPS) -> None:
    """Raise InputError for the first file that `read_descriptors` would miss."""
    for sequence in sequences:
        for name in names:
            path = Path(folder) / sequence / f"{name}.csv"
            if not path.is_file():
                raise InputError(f"{path} is missing: descriptors need SEQUENCE/{path.name} for every sequence")


def _gathered(
    labels: Mapping[str, str], names: Sequence[str], strip_of: StripOf, progress: Progress | None
) -> dict[str, NDArray[np.float32]]:
    """The strips `names` of each sequence that `labels` names for errors, joined."""
    gathered = {}
    for number, (sequence, label) in enumerate(labels.items()):
        counted = tracked(names, progress, len(labels) * len(names), before=number * len(names))
        gathered[sequence] = stack(label, {name: strip_of(sequence, name) for name in counted}, names)
    return same_dimension(gathered)


def stack(label: str, strips: Mapping[str, NDArray[Any]], names: Sequence[str] = STRIPS) -> NDArray[np.float32]:
    """Join the strips of a sequence, (n, D) float32 each, into (len(names), n, D).

    Rows of zeros, as some describers give for constant patches, are allowed and count as any other. Raises InputError
    that names the strip, LABEL/NAME, if one is missing, of another shape or type, or holds NaN, infinity or values
    beyond 1e15.
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
    dimensions = {name: strips.shape[2] for name, strips in descriptors.items()}
    first = next(iter(dimensions))
    for name, dimension in dimensions.items():
        if dimension != dimensions[first]:
            raise InputError(f"descriptors of {name}: {dimension} dimensions where {first} has {dimensions[first]}")
    return descriptors


def zca(train: NDArray[np.float32], label: str) -> NDArray[np.float64]:
    """Whitening matrix (D, D) of descriptors (n, D), those of the reference patches of a split's train list.

    W = V diag(l^-1/2) V' of the covariance's eigenvectors and clipped eigenvalues. Its scale does not matter later on.
    Raises InputError, which starts with `label`, for descriptors that vary along too few directions to be whitened.
    """
    centred = train.astype(np.float64)
    centred -= centred.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    least = values[int(CLIP_SHARE * len(values))]
    if least <= 1e-12 * values[-1]:
        raise InputError(f"{label}: its {len(train)} train descriptors vary along too few directions to be whitened")
    return np.asarray((vectors / np.sqrt(np.maximum(values, least))) @ vectors.T)


def apply(whitening: NDArray[np.float64], descriptors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Normalise a strip's descriptors (n, D): centre by the strip's own mean, whiten, sign(x) sqrt|x|, unit length.

    The strip's mean, not that of training, is the benchmark's rule. A vector of length zero stays zero.
    """
    centred = descriptors.astype(np.float64)
    centred -= centred.mean(axis=0)
    white = centred @ whitening
    powered = np.sign(white) * np.sqrt(np.abs(white))
    lengths = np.linalg.norm(powered, axis=1, keepdims=True)
    unit = np.divide(powered, lengths, out=np.zeros_like(powered), where=lengths > 0)
    return np.asarray(unit, dtype=np.float32)


def _read_table(path: Path) -> NDArray[np.float32]:
    try:
        with path.open(encoding="utf-8") as file:
            line = file.readline()
            separator = ";" if ";" in line else ","
            if separator in line:
                file.seek(0)
                return np.loadtxt(file, dtype=np.float32, delimiter=separator, ndmin=2, comments=None)
    except ValueError as error:  # UnicodeDecodeError included
        raise InputError(f"{path}: not a table of numbers ({error})") from None
    raise InputError(f"{path}: its first line holds no ',' or ';' between numbers")
