"""COLMAP projects: a reader of sparse models and their keypoints, and the builder that makes a PatchSet of them.

A project is a folder with `images/`, `sparse/` (or `sparse/0/`: images.bin, points3D.bin) and `database.db`.
"""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.imaging import frames as frame_lib
from tiepoint.imaging.extract import extract
from tiepoint.imaging.io import read_grey
from tiepoint.patches import PatchSet

NO_POINT = np.uint64(2**64 - 1)


@dataclass(frozen=True)
class ColmapImage:
    """A registered image: its name, its pose (world to camera) and the observations that belong to tracks."""

    image_id: int
    name: str
    rotation: NDArray[np.float64]  # (3, 3)
    translation: NDArray[np.float64]  # (3,)
    keypoints: NDArray[np.int64]  # (M,) rows of the database's keypoint table
    points: NDArray[np.int64]  # (M,) 3-D point ids

    @property
    def centre(self) -> NDArray[np.float64]:
        """Camera centre (3,) in the world."""
        centre: NDArray[np.float64] = -self.rotation.T @ self.translation
        return centre


@dataclass(frozen=True)
class ColmapProject:
    """A sparse model with the keypoints that it was made from."""

    directory: Path
    images: list[ColmapImage]

    @property
    def name(self) -> str:
        """The folder's own name, also where it was given as `.`."""
        return self.directory.resolve().name

    @property
    def observations(self) -> int:
        """Number of observations in all tracks."""
        return sum(len(image.points) for image in self.images)

    def read_image(self, image: ColmapImage) -> NDArray[Any]:
        """The image (H, W), grey, uint8 or uint16 as stored."""
        return read_grey(self.directory / "images" / image.name)

    def frames(self, image: ColmapImage) -> NDArray[np.float64]:
        """Frames (M, 2, 3) of the image's observations, pixel centres at integers."""
        path = self.directory / "database.db"
        row = _query_keypoints(path, image.name)
        if row is None:
            raise InputError(f"{path}: no keypoints for {image.name}: give the database that the model was made from")
        rows, columns, data = row
        if columns not in (4, 6):
            raise InputError(f"{path}: keypoints of {image.name} have no scale ({columns} columns): detect with SIFT")
        if len(data or b"") != 4 * rows * columns:
            raise InputError(f"{path}: keypoints of {image.name} are damaged: {len(data or b'')} bytes, {rows} rows")
        table = np.frombuffer(data or b"", dtype="<f4").reshape(rows, columns)
        if len(image.keypoints) and int(image.keypoints.max()) >= len(table):
            raise InputError(
                f"{path}: {image.name} has {rows} keypoints, the model uses number {image.keypoints.max()}: "
                "give the database that the model was made from"
            )
        used = table[image.keypoints]
        if not np.isfinite(used).all():
            raise InputError(f"{path}: keypoints of {image.name} hold NaN or infinite values")
        return frame_lib.from_colmap(used)

    def positions(self) -> dict[int, NDArray[np.float64]]:
        """3-D point id -> position (3,)."""
        return _read_points(_model_folder(self.directory) / "points3D.bin")


def read_project(directory: str | Path) -> ColmapProject:
    """Read a COLMAP project. Raises InputError that names the file that is missing or broken."""
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(
            f"{directory} is missing or no folder: name a COLMAP project with images/, sparse/*.bin and database.db"
        )
    model = _model_folder(directory)
    paths = {
        model / "images.bin": Path.is_file,
        directory / "database.db": Path.is_file,
        directory / "images": Path.is_dir,
    }
    for path, right in paths.items():
        if not right(path):
            raise InputError(f"{path} is missing: a COLMAP project has images/, sparse/*.bin and database.db")
    try:
        images = sorted(_read_images(model / "images.bin"), key=lambda image: image.name)
    except (struct.error, ValueError, OverflowError) as error:
        raise InputError(f"{model / 'images.bin'} is truncated or no COLMAP model ({error})") from None
    return ColmapProject(directory, images)


def build(
    projects: Sequence[str | Path],
    out: str | Path,
    *,
    support: float = 12.0,
    margin: float = 1.75,
    licence: str = "unknown",
    workers: int = 2,
    progress: Callable[[int, int], None] | None = None,
) -> PatchSet:
    """Cut a patch at every observation of the projects' tracks and write them as a PatchSet.

    Point ids are numbered through all projects, so points of different projects never share one. Images are read in
    `workers` threads, one image each: memory stays bounded by a few images and their patches.

    Args:
        projects: COLMAP project folders.
        out: folder to write; must not exist.
        support: width in sigmas that a describer shall see.
        margin: stored width over `support`; more than 1 leaves room to turn, shift and scale patches in training.
        licence: of the images, recorded in the manifest.
        workers: threads.
        progress: called with (images done, images in all).

    Raises:
        InputError: no project, one twice, one that cannot be read, no observations, or an image that is no 8-bit image
            of the size that the model was made from.
    """
    if not projects:
        raise InputError("give at least one project: a folder with images/, sparse/*.bin and database.db")
    if workers < 1:
        raise InputError(f"workers is {workers}, must be at least 1")
    opened = [read_project(project) for project in projects]
    for index, project in enumerate(opened):
        if any(project.directory.samefile(other.directory) for other in opened[:index]):
            raise InputError(f"{project.directory} is given twice: its points would match themselves")
    jobs = [(project, image) for project in opened for image in project.images if len(image.points)]
    total = sum(len(image.points) for _, image in jobs)
    if not total:
        raise InputError(f"{', '.join(map(str, projects))}: no observations: the sparse model is empty")
    for project, image in jobs:  # before hours of work, not after
        if not (project.directory / "images" / image.name).is_file():
            raise InputError(f"{project.directory / 'images' / image.name}: no such file: the model uses this image")
    bases = _point_bases(opened)
    provenance = {
        "builder": "tiepoint data colmap",
        "projects": [{"name": p.name, "images": len(p.images), "observations": p.observations} for p in opened],
        "sampling": {"size": 64, "interpolation": "bilinear from a Gaussian pyramid", "border": "replicate"},
    }

    def cut(job: tuple[ColmapProject, ColmapImage]) -> NDArray[Any]:
        project, image = job
        pixels, frames = project.read_image(image), project.frames(image)
        path = project.directory / "images" / image.name
        if pixels.dtype != np.uint8:
            raise InputError(f"{path} is {pixels.dtype}: 8-bit images only")
        beyond = np.abs(2 * frames[:, :, 2] - (np.array(pixels.shape[::-1]) - 1)) > np.array(pixels.shape[::-1]) + 2
        if beyond.any():
            raise InputError(f"{path}: keypoints lie beyond its borders: give the image in the size that COLMAP saw")
        return extract(pixels, frames, support=support * margin)

    with PatchSet.create(
        out, total, support=support, margin=margin, provenance=provenance, licence=licence
    ) as writer, ThreadPoolExecutor(workers) as pool:  # fmt: skip
        start = 0
        results = zip(jobs, _ordered(pool, cut, jobs, 2 * workers), strict=True)
        for done, ((project, image), patches) in enumerate(results):
            ids, first = bases[project.directory]
            rows = slice(start, start + len(patches))
            writer.patches[rows] = patches
            writer.points[rows] = first + np.searchsorted(ids, image.points)
            writer.images[rows] = done
            writer.image_names.append(f"{project.name}/{image.name}")
            start = rows.stop
            if progress:
                progress(done + 1, len(jobs))
        writer.spectra[:] = 0
    return PatchSet.open(out)


def _point_bases(projects: Sequence[ColmapProject]) -> dict[Path, tuple[NDArray[np.int64], int]]:
    """For each project COLMAP's point ids, sorted, and the id of the first of them in the PatchSet."""
    bases, first = {}, 0
    for project in projects:
        seen = [image.points for image in project.images]
        ids = np.unique(np.concatenate([np.empty(0, dtype=np.int64), *seen]))
        bases[project.directory] = ids, first
        first += len(ids)
    return bases


def _query_keypoints(path: Path, name: str) -> tuple[int, int, bytes | None] | None:
    """Rows, columns and data of an image's keypoint table. Nothing is written, so a read-only folder will do."""
    query = "SELECT rows, cols, data FROM keypoints JOIN images USING (image_id) WHERE name = ?"
    # COLMAP logs ahead of its writes. To read such a database SQLite makes files beside it, unless it is immutable,
    # which is only true while no log waits to be merged.
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    option = "mode=ro" if any(log.exists() and log.stat().st_size for log in logs) else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{option}", uri=True)) as database:
            row: tuple[int, int, bytes | None] | None = database.execute(query, (name,)).fetchone()
    except sqlite3.Error as error:
        raise InputError(f"{path} cannot be read ({error}): give the database that the model was made from") from None
    return row


def _ordered(
    pool: ThreadPoolExecutor, function: Callable[[Any], Any], jobs: Sequence[Any], ahead: int
) -> Iterator[Any]:
    """Results in the order of `jobs`, with at most `ahead` of them computed or waiting."""
    source = iter(jobs)
    pending = [pool.submit(function, job) for job in islice(source, ahead)]
    while pending:
        yield pending.pop(0).result()
        pending += [pool.submit(function, job) for job in islice(source, 1)]


def _model_folder(directory: Path) -> Path:
    nested = directory / "sparse" / "0"
    return nested if nested.is_dir() else directory / "sparse"


def _read_images(path: Path) -> Iterator[ColmapImage]:
    data = path.read_bytes()
    (count,), offset = struct.unpack_from("<Q", data), 8
    for _ in range(count):
        image_id, *pose, _camera = struct.unpack_from("<I7dI", data, offset)
        offset += struct.calcsize("<I7dI")
        end = data.index(b"\0", offset)
        name, offset = data[offset:end].decode(), end + 1
        (observed,) = struct.unpack_from("<Q", data, offset)
        offset += 8
        table = np.frombuffer(data, dtype=[("xy", "<f8", 2), ("point", "<u8")], count=observed, offset=offset)
        offset += table.nbytes
        (keypoints,) = np.nonzero(table["point"] != NO_POINT)
        points = table["point"][keypoints].astype(np.int64)
        yield ColmapImage(image_id, name, _rotation(np.array(pose[:4])), np.array(pose[4:]), keypoints, points)


def _read_points(path: Path) -> dict[int, NDArray[np.float64]]:
    try:
        data = path.read_bytes()
        (count,), offset = struct.unpack_from("<Q", data), 8
        positions = {}
        for _ in range(count):
            point, x, y, z = struct.unpack_from("<Q3d", data, offset)
            (length,) = struct.unpack_from("<Q", data, offset + 43)
            positions[point] = np.array([x, y, z])
            offset += 51 + 8 * length
        if offset > len(data):
            raise struct.error("the last track is cut off")
    except FileNotFoundError:
        raise InputError(f"{path} is missing: a COLMAP project has sparse/points3D.bin") from None
    except struct.error as error:
        raise InputError(f"{path} is truncated or no COLMAP model ({error})") from None
    return positions


def _rotation(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
