"""The arrays of patch pairs that RRL-Net's and KGL-Net's code reads, to a PatchSet with their pairs.

Nothing in them says which image a patch comes from, or where it lies. So every pair counts as a scene of its own, with
the name "set/number"; a match has one point id, a non-match two, and a patch that occurs in two pairs is stored twice.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.published.sets import check_spectra, files, provenance, select_sets
from tiepoint.errors import InputError
from tiepoint.parsed import read_text
from tiepoint.patches import SIZE, PatchSet, map_npy
from tiepoint.types import Progress

_BLOCK = 1024  # pairs that are copied at once
_SPECTRA = {"os": ("opt", "sar"), "sne": ("opt", "sar"), "lwir": ("vis", "lwir")}  # by what stands before a set's "_"
_Pairs = tuple[Path, NDArray[Any], NDArray[np.bool_]]  # a set: file, pairs (N, 2, 64, 64), mapped, and labels (N,)


def read_arrays(
    layout: str,
    root: str | Path,
    out: str | Path,
    *,
    sets: Sequence[str] = (),
    spectra: Sequence[str] | None = None,
    licence: str = "unknown",
    progress: Progress | None = None,
) -> PatchSet:
    """Copy arrays of pairs.

    - rrlnet-npy: country.npy (N, 2, 64, 64) and country_label.npy (N,), and so on. Also os_train_image.npy with
      os_train_label.npy, sne_train_image.npy (SEN1-2) and val_data.npy with val_label.npy; these sets are called
      os_train, sne_train and val. val repeats pairs of the test sets.
    - kglnet-npy: country/country_sos.npy (2N, 1, 64, 64) and country/country_info.txt; a set's files may also lie in
      `root` itself. Rows 2i and 2i + 1 are a pair; it matches if lines 2i and 2i + 1 of the text have the same id.

    The set is the category. `out` must not exist, and `progress` is called with (pairs done, pairs in all).

    Args:
        sets: to read; all there are if empty.
        spectra: names of the two, in the arrays' order; if None, opt and sar for sets os_* and sne_*, vis and lwir for
            lwir_*, else vis and nir. The published order for optical and SAR is not known.

    Raises:
        InputError: names the file, and the row where there is one: no arrays, no labels beside them, a damaged file,
            another shape, values that are not whole numbers from 0 to 255, other labels than 0 and 1, or more or fewer
            labels than pairs.
    """
    root = Path(root)
    if layout == "rrlnet-npy":
        arrays = [path for path in files(root) if path.suffix == ".npy" and not path.stem.endswith("_label")]
        present = {path.stem.removesuffix("_image").removesuffix("_data"): path for path in arrays}
        chosen = select_sets(root, present, sets, "country.npy")
        contents = [_read_pair_array(path, root / f"{name}_label.npy") for name, path in chosen.items()]
    else:
        folders = [root, *sorted(path for path in root.glob("*") if path.is_dir())]
        arrays = [path for folder in folders for path in files(folder) if path.name.endswith("_sos.npy")]
        present = {path.stem.removesuffix("_sos"): path for path in arrays}
        chosen = select_sets(root, present, sets, "country/country_sos.npy")
        contents = [_read_interleaved(path, path.with_name(f"{name}_info.txt")) for name, path in chosen.items()]
    spectra = _default_spectra(chosen) if spectra is None else spectra
    check_spectra(spectra)
    labels = np.concatenate([own for _, _, own in contents])
    total = len(labels)
    rows = np.arange(2 * total).reshape(total, 2)
    origin = provenance(layout, root, chosen)
    with PatchSet.create(out, 2 * total, spectra=spectra, pairs=total, provenance=origin, licence=licence) as writer:
        for name, (path, pairs, _) in zip(chosen, contents, strict=True):
            for low in range(0, len(pairs), _BLOCK):
                filled = writer.append(_grey(path, pairs, low).reshape(-1, 1, SIZE, SIZE))
                if progress:
                    progress(filled // 2, total)
            writer.image_names += [f"{name}/{number}" for number in range(len(pairs))]
        writer.fill(
            points=np.where(labels[:, None], rows[:, :1], rows).reshape(-1),
            images=rows.reshape(-1) // 2,
            spectra=rows.reshape(-1) % 2,
            pairs=np.column_stack([rows, labels]),
        )
    return PatchSet.open(out)


def open_npy(path: Path) -> NDArray[Any]:
    """Map an array of a .npy file. Raises InputError for one that is missing, damaged or holds no plain values."""
    array = map_npy(path, "copy it again")
    if array.dtype.kind not in "uifb":
        raise InputError(f"{path}: holds {array.dtype}: must be numbers")
    return array


def _read_pair_array(path: Path, label_path: Path) -> _Pairs:
    pairs = open_npy(path)
    if pairs.ndim != 4 or pairs.shape[1:] != (2, SIZE, SIZE) or not len(pairs):
        raise InputError(f"{path}: holds {pairs.shape}: must be pairs of patches, (N, 2, 64, 64)")
    labels = open_npy(label_path)
    if labels.shape != (len(pairs),):
        raise InputError(f"{label_path}: holds {labels.shape} labels, {path.name} {len(pairs)} pairs: copy both again")
    for row in np.flatnonzero(~np.isin(labels, (0, 1)))[:1]:
        raise InputError(f"{label_path}, row {row}: label is {labels[row]}: must be 0 or 1")
    return path, pairs, labels == 1


def _read_interleaved(path: Path, info: Path) -> _Pairs:
    patches = open_npy(path)
    if patches.ndim != 4 or patches.shape[1:] != (1, SIZE, SIZE) or len(patches) % 2 or not len(patches):
        raise InputError(f"{path}: holds {patches.shape}: must be two patches a pair in turn, (2N, 1, 64, 64)")
    ids = _read_ids(info)
    if len(ids) != len(patches):
        raise InputError(f"{info}: has {len(ids)} lines, {path.name} {len(patches)} patches: each patch needs one line")
    return path, patches.reshape(-1, 2, SIZE, SIZE), ids[::2] == ids[1::2]


def _read_ids(path: Path) -> NDArray[np.int64]:
    if not path.exists():
        raise InputError(f"{path}: no such file: it must hold one id on each line, one line for each patch")
    lines = read_text(path).rstrip().splitlines()
    ids = np.empty(len(lines), dtype=np.int64)
    for number, line in enumerate(lines):
        try:
            value = float(line)  # numpy.savetxt writes ids as 1.000e+00
            ids[number] = int(value)
        except (ValueError, OverflowError):
            value = 0.5
        if value % 1 or abs(value) > 2**53:
            raise InputError(f"{path}, line {number + 1}: {line[:40]!r}: must be one whole number")
    return ids


def _grey(path: Path, pairs: NDArray[Any], low: int) -> NDArray[np.uint8]:
    """The pairs from number `low` on, a block of them, as grey values. Raises InputError for other values."""
    block = np.asarray(pairs[low : low + _BLOCK])
    if block.dtype == np.uint8:
        return block
    with np.errstate(invalid="ignore"):  # NaN fails every comparison
        fits = ((block >= 0) & (block <= 255) & (block % 1 == 0)).all(axis=(1, 2, 3))
    if not fits.all():
        row = low + int(np.argmin(fits))
        raise InputError(f"{path}, pair {row}: holds other values than whole numbers from 0 to 255")
    return block.astype(np.uint8)


def _default_spectra(sets: Collection[str]) -> Sequence[str]:
    kinds = {_SPECTRA.get(name.split("_")[0], ("vis", "nir")) for name in sets}
    if len(kinds) > 1:
        raise InputError(f"the sets {', '.join(sets)} have several pairs of spectra: name sets of one with --sets")
    return kinds.pop()
