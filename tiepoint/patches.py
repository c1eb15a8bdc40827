"""PatchSet: memory-mapped patches with point ids, image ids and spectra. What flows between all rooms.

A PatchSet is a folder:

    manifest.json   format, counts, geometry, hashes of the arrays, provenance, licence
    patches.npy     (N, C, 64, 64) uint8 or uint16
    points.npy      (N,) int64; patches with one id show one point
    images.npy      (N,) int32, index into images.json
    spectra.npy     (N,) uint8, index into the manifest's `spectra`
    images.json     names of the images

It is written to a hidden folder beside its target and renamed when complete, so what opens is whole.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from tiepoint.errors import InputError
from tiepoint.files import atomic_directory

FORMAT = "tiepoint-patchset"
VERSION = 1
SIZE = 64
ARRAYS = ("patches", "points", "images", "spectra")
_DTYPES = {"points": "int64", "images": "int32", "spectra": "uint8"}


class PatchSet:
    """Patches of scene points. Open one with `PatchSet.open`, make one with `PatchSet.create`.

    Attributes:
        directory: the folder.
        manifest: what manifest.json says. `support` is the width in sigmas that a describer should see,
            `margin` how many times wider the stored patch is, so that it can be turned and shifted.
        patches: (N, C, 64, 64) uint8 or uint16, memory-mapped, read-only.
        points: (N,) int64 point ids.
        images: (N,) int32 indices into `image_names`.
        spectra: (N,) uint8 indices into `manifest["spectra"]`.
    """

    def __init__(self, directory: Path, manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
        self.directory = directory
        self.manifest = manifest
        self.patches = arrays["patches"]
        self.points = arrays["points"]
        self.images = arrays["images"]
        self.spectra = arrays["spectra"]

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
        """Names of the images, in the order of their ids."""
        return list(json.loads((self.directory / "images.json").read_text(encoding="utf-8")))

    @classmethod
    def open(cls, directory: str | Path, verify: bool = False) -> PatchSet:
        """Open a PatchSet without reading its patches.

        Args:
            directory: the folder.
            verify: read everything and compare the content hashes, about a second a gigabyte.

        Raises:
            InputError: no PatchSet, a foreign version, a shape, type or hash that the manifest does not state.
        """
        directory = Path(directory)
        manifest = _read_manifest(directory)
        arrays = {name: _map(directory / f"{name}.npy") for name in ARRAYS}
        _check_shapes(directory, manifest, arrays)
        patch_set = cls(directory, manifest, arrays)
        if verify:
            patch_set.verify()
        return patch_set

    def verify(self) -> None:
        """Compare the content with the manifest's hashes. Raises InputError that names the first file that differs."""
        for name, expected in self.manifest["sha256"].items():
            if _hash(self.directory / name) != expected:
                raise InputError(f"{self.directory / name}: content hash differs from the manifest: build the PatchSet again")

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
        provenance: dict[str, Any] | None = None,
        licence: str = "unknown",
    ) -> Iterator[PatchSetWriter]:
        """Yield a writer whose arrays are to be filled; the folder appears when the block ends without an exception.

        The disk space is reserved first, so that a disk too small is an error here and not a crash later.

        Raises:
            InputError: the folder exists and is not empty, or the arguments make no PatchSet.
            OSError: the disk is full or the folder not writable.
        """
        if np.dtype(dtype) not in (np.dtype(np.uint8), np.dtype(np.uint16)):
            raise InputError(f"{directory}: patches are uint8 or uint16, not {np.dtype(dtype)}")
        if count < 1 or channels < 1:
            raise InputError(f"{directory}: a PatchSet needs at least one patch of at least one channel")
        if margin < 1:
            raise InputError(f"{directory}: margin is {margin:g}, must be at least 1")
        with atomic_directory(directory) as temporary:
            shapes = {"patches": (count, channels, SIZE, SIZE), "points": (count,), "images": (count,), "spectra": (count,)}
            dtypes = {"patches": np.dtype(dtype).name, **_DTYPES}
            arrays = {name: _allocate(temporary / f"{name}.npy", shapes[name], dtypes[name]) for name in ARRAYS}
            writer = PatchSetWriter(arrays)
            yield writer
            for array in arrays.values():
                array.flush()
            if int(writer.images.max()) >= len(writer.image_names) or int(writer.images.min()) < 0:
                raise InputError(f"{directory}: an image id has no name in image_names")
            if int(writer.spectra.max()) >= len(spectra):
                raise InputError(f"{directory}: a spectrum id has no name in spectra")
            (temporary / "images.json").write_text(json.dumps(writer.image_names), encoding="utf-8")
            manifest = {
                "format": FORMAT,
                "version": VERSION,
                "counts": {
                    "patches": count,
                    "points": len(np.unique(writer.points)),
                    "images": len(writer.image_names),
                },
                "shape": list(shapes["patches"]),
                "dtype": dtypes["patches"],
                "spectra": list(spectra),
                "support": float(support),
                "margin": float(margin),
                "sha256": {f: _hash(temporary / f) for f in [*(f"{name}.npy" for name in ARRAYS), "images.json"]},
                "provenance": provenance or {},
                "licence": licence,
            }
            (temporary / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


class PatchSetWriter:
    """Writable arrays of a PatchSet in the making; fill them and `image_names`."""

    def __init__(self, arrays: dict[str, np.memmap[Any, Any]]) -> None:
        self.patches = arrays["patches"]
        self.points = arrays["points"]
        self.images = arrays["images"]
        self.spectra = arrays["spectra"]
        self.image_names: list[str] = []


def _allocate(path: Path, shape: tuple[int, ...], dtype: str) -> np.memmap[Any, Any]:
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.dtype(dtype), shape=shape)
    with path.open("r+b") as file:  # a hole in a sparse file would end the process with SIGBUS on a full disk
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    return array


def _read_manifest(directory: Path) -> dict[str, Any]:
    path = directory / "manifest.json"
    if not path.is_file():
        raise InputError(f"{directory} is no PatchSet (no manifest.json): build one with `tiepoint data colmap`")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path} cannot be read ({error}): build the PatchSet again") from None
    if not isinstance(manifest, dict) or manifest.get("format") != FORMAT:
        raise InputError(f"{path} is no manifest of a PatchSet")
    if manifest.get("version") != VERSION:
        raise InputError(f"{path}: version {manifest.get('version')}, this tiepoint reads {VERSION}: build the PatchSet again")
    missing = {"counts", "shape", "dtype", "spectra", "support", "margin", "sha256"} - manifest.keys()
    if missing:
        raise InputError(f"{path} lacks {', '.join(sorted(missing))}: build the PatchSet again")
    return manifest


def _map(path: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"{path} is missing: build the PatchSet again") from None
    except (ValueError, OSError, EOFError) as error:
        raise InputError(f"{path} is truncated or no array ({error}): build the PatchSet again") from None
    return array


def _check_shapes(directory: Path, manifest: dict[str, Any], arrays: dict[str, NDArray[Any]]) -> None:
    shape = tuple(manifest["shape"])
    if len(shape) != 4 or shape[2:] != (SIZE, SIZE) or manifest["dtype"] not in ("uint8", "uint16"):
        raise InputError(f"{directory}/manifest.json: patches {shape} {manifest['dtype']}, must be (N, C, 64, 64) uint8 or uint16")
    for name, array in arrays.items():
        expected = (shape, manifest["dtype"]) if name == "patches" else (shape[:1], _DTYPES[name])
        if (array.shape, array.dtype.name) != expected:
            raise InputError(
                f"{directory}/{name}.npy holds {array.shape} {array.dtype.name}, the manifest states {expected[0]} {expected[1]}: "
                "build the PatchSet again"
            )


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
