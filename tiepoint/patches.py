"""PatchSet: memory-mapped patches with point ids, image ids and spectra. What flows between all rooms.

A PatchSet is a folder:

    manifest.json   format, counts, geometry, hashes of the arrays, provenance, licence
    patches.npy     (N, C, 64, 64) uint8 or uint16
    points.npy      (N,) int64; patches with one id show one point
    images.npy      (N,) int32, index into images.json
    spectra.npy     (N,) uint8, index into the manifest's `spectra`
    images.json     names of the images

and, where the set has them (see `PatchSet`):

    positions.npy   (N, 2) float32, pixels
    pairs.npy       (M, 3) int64, rows of two patches and whether they match

A set across spectra names two in its manifest. Its images are scenes, "category/name", which both spectra share.

It is written to a hidden folder beside its target and renamed when complete, so what opens is whole.
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from tokenize import TokenError
from typing import Annotated, Any, Literal, NotRequired, TypedDict, cast

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from tiepoint.errors import InputError
from tiepoint.files import atomic_directory, write_json
from tiepoint.parsed import MAX_TEXT_BYTES, Count, Positive, conform, read_json

FORMAT = "tiepoint-patchset"
VERSION = 1
SIZE = 64
ARRAYS = ("patches", "points", "images", "spectra")
OPTIONAL = ("positions", "pairs")
NAMES = "images.json"
REBUILD = "build the PatchSet again"
Shape = tuple[int, ...]
_DTYPES = {"points": "int64", "images": "int32", "spectra": "uint8", "positions": "float32", "pairs": "int64"}


class _Arrays:
    """The arrays of a PatchSet, by name."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.patches, self.points, self.images, self.spectra = (arrays[name] for name in ARRAYS)
        self.positions, self.pairs = (arrays.get(name) for name in OPTIONAL)


class PatchSet(_Arrays):
    """Patches of scene points. Open one with `PatchSet.open`, make one with `PatchSet.create`.

    Attributes:
        directory: the folder.
        manifest: what manifest.json says. `support` is the width in sigmas that a describer should see,
            `margin` how many times wider the stored patch is, so that it can be turned and shifted.
        patches: (N, C, 64, 64) uint8 or uint16, memory-mapped, read-only.
        points: (N,) int64 point ids.
        images: (N,) int32 indices into `image_names`.
        spectra: (N,) uint8 indices into `manifest["spectra"]`.
        positions: (N, 2) float32, where the patch's point lies, x and y in pixels of the scene's first image, or None.
        pairs: (M, 3) int64, the pairs that the data set itself defines: rows of a patch of the first spectrum and of
            one of the second, and 1 if they match, else 0; or None.
    """

    def __init__(self, directory: Path, manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        super().__init__(arrays)
        self.directory, self.manifest = directory, manifest

    def __len__(self) -> int:
        return len(self.points)

    def __repr__(self) -> str:
        return f"PatchSet({str(self.directory)!r}, {len(self)} patches, {self.manifest['counts']['points']} points)"

    @property
    def support(self) -> float:
        """Width in sigmas that a describer should see."""
        return float(self.manifest["support"])

    @property
    def margin(self) -> float:
        """Stored width over `support`, at least 1."""
        return float(self.manifest["margin"])

    @cached_property
    def image_names(self) -> list[str]:
        """Names of the images, in the order of their ids. Read at the first use. Raises InputError."""
        path = self.directory / NAMES
        names = read_json(path, list[str], REBUILD, MAX_TEXT_BYTES)
        if len(names) != self.manifest["counts"]["images"]:
            raise InputError(f"{path} holds {len(names)} names, the manifest states another number: {REBUILD}")
        return names

    @classmethod
    def open(cls, directory: str | Path, verify: bool = False) -> PatchSet:
        """Open a PatchSet without reading its patches.

        With `verify` everything is read and the content hashes compared, about one second for each gigabyte. Raises
        InputError for no PatchSet, a foreign version, or a shape, type or hash that the manifest does not state.
        """
        directory = Path(directory)
        manifest = _read_manifest(directory)
        arrays = {name: map_npy(directory / f"{name}.npy", REBUILD) for name in _present(manifest)}
        kinds = _kinds(tuple(manifest["shape"]), manifest["dtype"], manifest.get("pairs"), arrays)
        for name, (shape, dtype) in kinds.items():
            if arrays[name].shape != shape or arrays[name].dtype != np.dtype(dtype):
                held, stated = f"{arrays[name].shape} {arrays[name].dtype}", f"{shape} {dtype}"
                raise InputError(f"{directory}/{name}.npy holds {held}, the manifest states {stated}: {REBUILD}")
        if "pairs" in arrays:
            _check_pairs(directory, arrays["pairs"], arrays["spectra"])
        if not (directory / NAMES).is_file():
            raise InputError(f"{directory / NAMES} is missing: {REBUILD}")
        patch_set = cls(directory, manifest, arrays)
        if verify:
            patch_set.verify()
        return patch_set

    def verify(self) -> None:
        """Compare the content with the manifest's hashes. Raises InputError that names the first file that differs."""
        for name in _files(_present(self.manifest)):
            path = self.directory / name
            if not path.exists():
                raise InputError(f"{path} is missing: {REBUILD}")
            if _hash(path) != self.manifest["sha256"].get(name):
                raise InputError(f"{path}: content hash differs from the manifest: {REBUILD}")

    @classmethod
    @contextmanager
    def create(
        cls,
        directory: str | Path,
        count: int,
        *,
        channels: int = 1,
        dtype: DTypeLike = np.uint8,
        spectra: Sequence[str] = ("vis",),
        support: float = 12.0,
        margin: float = 1.0,
        positions: bool = False,
        pairs: int = 0,
        provenance: dict[str, Any] | None = None,
        licence: str = "unknown",
    ) -> Iterator[PatchSetWriter]:
        """Yield a writer whose arrays are to be filled; the folder appears when the block ends without an exception.

        `positions` says whether there are positions, `pairs` how many pairs the set defines, 0 for none. The disk space
        is reserved first, so that a full disk is an error here and not a crash later. Raises InputError where the
        folder exists and is not empty or the arguments make no PatchSet, OSError where the disk is full or the folder
        not writable.
        """
        if np.dtype(dtype) not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise InputError(f"{directory}: patches are uint8 or uint16, not {np.dtype(dtype)}")
        if count < 1 or channels < 1:
            raise InputError(f"{directory}: a PatchSet needs at least one patch of at least one channel")
        if not 1 <= margin < math.inf:
            raise InputError(f"{directory}: margin is {margin:g}, must be at least 1")
        if not 0 < support < math.inf:
            raise InputError(f"{directory}: support is {support:g}, must be more than 0")
        with atomic_directory(directory) as temporary:
            optional = [name for name, has in zip(OPTIONAL, (positions, pairs), strict=True) if has]
            kinds = _kinds((count, channels, SIZE, SIZE), np.dtype(dtype).name, pairs, [*ARRAYS, *optional])
            arrays = {name: _allocate(temporary / f"{name}.npy", *kind) for name, kind in kinds.items()}
            writer = PatchSetWriter(temporary, arrays)
            yield writer
            for array in arrays.values():
                array.flush()
            if int(writer.images.max()) >= len(writer.image_names) or int(writer.images.min()) < 0:
                raise InputError(f"{directory}: an image id has no name in image_names")
            if int(writer.spectra.max()) >= len(spectra):
                raise InputError(f"{directory}: a spectrum id has no name in spectra")
            if writer.pairs is not None:
                _check_pairs(directory, writer.pairs, writer.spectra)
            (temporary / NAMES).write_text(json.dumps(writer.image_names), encoding="utf-8")
            points = len(np.unique(writer.points))
            manifest = {
                "format": FORMAT,
                "version": VERSION,
                "counts": {"patches": count, "points": points, "images": len(writer.image_names)},
                "shape": [count, channels, SIZE, SIZE],
                "dtype": np.dtype(dtype).name,
                "spectra": list(spectra),
                "support": float(support),
                "margin": float(margin),
                "pairs": pairs,
                "sha256": {file: _hash(temporary / file) for file in _files(arrays)},
                "provenance": provenance or {},
                "licence": licence,
            }
            write_json(temporary / "manifest.json", manifest)


class PatchSetWriter(_Arrays):
    """Writable arrays of a PatchSet in the making; fill them and `image_names`. More files may go to `directory`."""

    def __init__(self, directory: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
        super().__init__(arrays)
        self.directory = directory
        self.image_names: list[str] = []
        self.appended = 0

    def fill(self, rows: slice = slice(None), /, **arrays: ArrayLike) -> None:
        """Set `rows`, or all, of the arrays that are named."""
        for name, values in arrays.items():
            getattr(self, name)[rows] = values

    def append(self, patches: NDArray[Any], image: str | None = None, **arrays: ArrayLike) -> int:
        """Set the next rows, of a new image if one is named; returns the number of rows set so far."""
        rows = slice(self.appended, self.appended + len(patches))
        self.fill(rows, patches=patches, **arrays)
        if image is not None:
            self.images[rows] = len(self.image_names)
            self.image_names.append(image)
        self.release()
        self.appended = rows.stop
        return self.appended

    def release(self) -> None:
        """Free the memory of the patches' pages, which the system writes to the file. Call it now and then."""
        pages: Any = self.patches.base  # the mapping, which numpy types as an array
        if isinstance(pages, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            pages.madvise(mmap.MADV_DONTNEED)  # loses nothing, since the mapping of the file is shared


def _allocate(path: Path, shape: Shape, dtype: str) -> np.memmap[Any, Any]:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    with path.open("r+b") as file:  # on a full disk, a hole in a sparse file would end the process with SIGBUS
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        else:  # macOS
            file.seek(array.offset)
            for start in range(0, array.nbytes, 1 << 24):
                file.write(bytes(min(1 << 24, array.nbytes - start)))
    return array


class _Counts(TypedDict):
    patches: Count
    points: Count
    images: Count


class _Manifest(TypedDict):
    counts: _Counts
    shape: tuple[Annotated[int, (1, 2**40)], Annotated[int, (1, 2**16)], Literal[64], Literal[64]]  # SIZE
    dtype: Literal["uint8", "uint16"]
    spectra: list[str]
    support: Positive
    margin: Annotated[float, (1, 1e9)]
    pairs: NotRequired[Count | None]
    sha256: dict[str, str]
    provenance: dict[str, Any]
    licence: str


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    if not path.is_file():
        raise InputError(f"{directory} is not a PatchSet (it has no manifest.json): build one with `tiepoint data ...`")
    manifest = cast("dict[str, Any]", read_json(path, Any, REBUILD))
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is not the manifest of a PatchSet")
    if manifest.get("version") != VERSION:
        raise InputError(f"{path}: version {manifest.get('version')}, this tiepoint reads {VERSION}: {REBUILD}")
    conform(manifest, _Manifest, path, REBUILD)
    if manifest["counts"]["patches"] != manifest["shape"][0] or not manifest["spectra"]:
        raise InputError(f"{path}: counts, shape and spectra do not fit each other: {REBUILD}")
    return manifest


def map_npy(path: Path, remedy: str) -> NDArray[Any]:
    """Map the array of a .npy file, read-only. Raises InputError with the `remedy` if it is missing or damaged."""
    try:
        return np.lib.format.open_memmap(path, mode="r")
    except FileNotFoundError:
        raise InputError(f"{path} is missing: {remedy}") from None
    except (ValueError, TypeError, OverflowError, SyntaxError, TokenError, EOFError, OSError) as error:
        # numpy parses the header as Python, hence the many kinds of error
        raise InputError(f"{path} is truncated or not an array ({error}): {remedy}") from None


def _present(manifest: dict[str, Any]) -> list[str]:
    """Names of the arrays that a set has, by its manifest."""
    stated = {"pairs"} if manifest.get("pairs") else set()
    return [*ARRAYS, *(name for name in OPTIONAL if name in stated or f"{name}.npy" in manifest["sha256"])]


def _files(arrays: Iterable[str]) -> list[str]:
    """Names of the files whose hashes the manifest states."""
    return [*(f"{name}.npy" for name in arrays), NAMES]


def _check_pairs(directory: str | Path, pairs: NDArray[np.int64], spectra: NDArray[np.uint8]) -> None:
    count = len(spectra)
    wrong = (pairs[:, :2].min(axis=1) < 0) | (pairs[:, :2].max(axis=1) >= count) | ~np.isin(pairs[:, 2], (0, 1))
    other = (spectra[np.where(wrong[:, None], 0, pairs[:, :2])] != [0, 1]).any(axis=1)
    if (wrong | other).any():
        row = int(np.argmax(wrong | other))
        fault = "must be a row of a patch of the first spectrum and one of the second"
        if wrong[row]:
            fault = f"must be two rows, 0 to {count - 1}, and a label 0 or 1"
        raise InputError(f"{directory}: pair {row} is {pairs[row].tolist()}: {fault}")


def _kinds(shape: Shape, dtype: str, pairs: Any, names: Iterable[str]) -> dict[str, tuple[Shape, str]]:
    """Shape and type of the arrays of these names in a set with patches of `shape` and `dtype`."""
    shapes = {"patches": shape, "positions": (shape[0], 2), "pairs": (pairs, 3)}
    dtypes = {"patches": dtype, **_DTYPES}
    return {name: (shapes.get(name, shape[:1]), dtypes[name]) for name in names}


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
