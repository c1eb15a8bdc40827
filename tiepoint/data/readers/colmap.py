"""COLMAP projects: sparse models, their keypoints and images.

A project is a folder with `images/`, `sparse/` (or `sparse/0/`, `sparse/1/` ...) and `database.db`. A model is
images.bin and points3D.bin, or both as text (.txt).
"""

import logging
import os
import sqlite3
import struct
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.readers.colmap_text import text_images, text_points
from tiepoint.errors import InputError
from tiepoint.features import frames as frame_lib
from tiepoint.images.raster import read_planes
from tiepoint.parsed import conform, read_bytes, shown

LOG = logging.getLogger(__name__)
PARTS = "images/, sparse/*.bin (or .txt) and database.db"
REMEDY = "give the database that the model was made from"
MAX_MODEL_BYTES = 1 << 33  # of images.bin and points3D.bin: those of 10,000 images have about a gigabyte
MAX_KEYPOINTS, MAX_KEYPOINTS_BYTES = 1 << 22, 1 << 27  # of an image
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
        return np.asarray(-self.rotation.T @ self.translation)


@dataclass(frozen=True)
class ColmapProject:
    """The sparse models of one database, with the keypoints that they were made from.

    Models share no points and lie in coordinates of their own. An image of several models is that of the one in which
    it has most observations.
    """

    directory: Path
    images: list[ColmapImage]
    models: tuple[tuple[Path, int], ...] = ()  # folder of each, and what was added to its point ids

    @property
    def name(self) -> str:
        """The folder's own name, also where it was given as `.`."""
        return self.directory.resolve().name

    @property
    def observations(self) -> int:
        """Number of observations in all tracks."""
        return sum(len(image.points) for image in self.images)

    def path(self, image: ColmapImage) -> Path:
        """Where the image's file is."""
        return self.directory / "images" / image.name

    def read_image(self, image: ColmapImage) -> NDArray[Any]:
        """The image (H, W), grey, uint8 or uint16 as stored."""
        return np.asarray(read_planes(self.path(image), orient=False)[0])  # COLMAP applies no orientation

    def frames(self, image: ColmapImage) -> NDArray[np.float64]:
        """Frames (M, 2, 3) of the image's observations, pixel centres at integers."""
        path = self.directory / "database.db"
        row = _query_keypoints(path, image.name)
        if row is None:
            raise InputError(f"{path}: no keypoints for {image.name}: {REMEDY}")
        rows, columns, data = row
        if columns not in (4, 6):
            raise InputError(f"{path}: keypoints of {image.name} have no scale ({columns} columns): detect with SIFT")
        if len(data) != 4 * rows * columns:
            raise InputError(f"{path}: keypoints of {image.name} are damaged: {len(data)} bytes, {rows} rows")
        table = np.frombuffer(data, dtype="<f4").reshape(rows, columns)
        if len(image.keypoints) and int(image.keypoints.max()) >= len(table):
            fault = f"{image.name} has {rows} keypoints, the model uses number {image.keypoints.max()}"
            raise InputError(f"{path}: {fault}: {REMEDY}")
        used = table[image.keypoints]
        if not np.isfinite(used).all():
            raise InputError(f"{path}: keypoints of {image.name} hold NaN or infinite values")
        return frame_lib.from_colmap(used)

    def positions(self) -> dict[int, NDArray[np.float64]]:
        """3-D point id -> position (3,)."""
        return {
            first + point: position
            for folder, first in self.models
            for point, position in _read_points(_model_file(folder, "points3D")).items()
        }


def read_project(directory: str | Path) -> ColmapProject:
    """Read a COLMAP project. Raises InputError that names the file that is missing or broken."""
    directory = Path(directory)
    if not directory.is_dir():
        raise InputError(f"{directory} is missing or not a folder: name a COLMAP project with {PARTS}")
    files = [_model_file(folder, "images") for folder in _model_folders(directory)]
    for path in (*files, directory / "database.db", directory / "images"):
        if not (path.is_dir() if path.name == "images" else path.is_file()):
            raise InputError(f"{path} is missing: a COLMAP project has {PARTS}")
    images: dict[str, ColmapImage] = {}
    models, first, again = [], 0, 0
    for file in files:
        try:
            found = [replace(image, points=image.points + first) for image in _read_images(file)]
        except InputError:
            raise
        except (struct.error, ValueError, OverflowError) as error:
            raise InputError(f"{file} is truncated or not a COLMAP model ({error})") from None
        models.append((file.parent, first))
        first = max((int(image.points.max()) + 1 for image in found if len(image.points)), default=first)
        again += len(images.keys() & {image.name for image in found})
        for image in found:
            images[image.name] = max(images.get(image.name, image), image, key=lambda one: len(one.points))
    if again:
        LOG.info("%s: images in several models, each read from the one with most observations: %d", directory, again)
    return ColmapProject(directory, [images[name] for name in sorted(images)], tuple(models))


class _Keypoints(NamedTuple):
    """A row of COLMAP's table keypoints."""

    rows: Annotated[int, (0, MAX_KEYPOINTS)]
    columns: Annotated[int, (0, 128)]
    data: bytes


def _query_keypoints(path: Path, name: str) -> _Keypoints | None:
    """An image's row of the keypoint table. Nothing is written, so a read-only folder will do."""
    query = """SELECT rows, cols, CASE WHEN length(CAST(data AS BLOB)) > ? THEN 'too long' ELSE data END
        FROM keypoints JOIN images USING (image_id) WHERE name = CAST(? AS TEXT)"""
    # COLMAP logs ahead of its writes. To read such a database SQLite makes files beside it, unless it is immutable,
    # which is only true while no log waits to be merged.
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-journal")]
    option = "mode=ro" if any(log.exists() and log.stat().st_size for log in logs) else "immutable=1"
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?{option}", uri=True)) as database:
            kinds = "SELECT name FROM sqlite_master WHERE name IN ('keypoints', 'images') AND type != 'table'"
            if views := database.execute(kinds).fetchall():  # a view may compute for ever
                raise InputError(f"{path}: {shown(views[0][0])} is no table: {REMEDY}")
            row = database.execute(query, (MAX_KEYPOINTS_BYTES, os.fsencode(name))).fetchone()
    except (sqlite3.Error, UnicodeError, OverflowError) as error:
        raise InputError(f"{path} cannot be read ({error}): {REMEDY}") from None
    return row and conform(
        _Keypoints._make((*row[:2], row[2] or b"")), _Keypoints, f"{path}: keypoints of {name}", REMEDY
    )


def _model_folders(directory: Path) -> list[Path]:
    """The models `sparse/0`, `sparse/1` ... that COLMAP's mapper writes of images that it cannot join, or `sparse`."""
    sparse = directory / "sparse"
    numbered = [path for path in sparse.glob("*") if path.name.isdecimal() and path.is_dir()]
    return sorted(numbered, key=lambda path: int(path.name)) or [sparse]


def _model_file(folder: Path, name: str) -> Path:
    """A file of a model, as text if it is there as text alone, as in COLMAP."""
    binary, text = folder / f"{name}.bin", folder / f"{name}.txt"
    return text if text.is_file() and not binary.exists() else binary


def _read_images(path: Path) -> Iterator[ColmapImage]:
    if path.suffix == ".txt":
        for image_id, pose, name, points in text_images(path):
            (keypoints,) = np.nonzero(points >= 0)
            rotation, translation = _rotation(np.array(pose[:4])), np.array(pose[4:])
            yield ColmapImage(image_id, name, rotation, translation, keypoints, points[keypoints])
        return
    data = read_bytes(path, MAX_MODEL_BYTES)
    (count,), offset = struct.unpack_from("<Q", data), 8
    names = set[str]()
    for _ in range(count):
        image_id, *pose, _camera = struct.unpack_from("<I7dI", data, offset)
        offset += struct.calcsize("<I7dI")
        end = data.index(b"\0", offset)
        name, offset = os.fsdecode(data[offset:end]), end + 1
        (observed,) = struct.unpack_from("<Q", data, offset)
        offset += 8
        table = np.frombuffer(data, dtype=[("xy", "<f8", 2), ("point", "<u8")], count=observed, offset=offset)
        offset += table.nbytes
        if name in names or not np.isfinite(pose).all() or not any(pose[:4]):
            raise ValueError(f"{shown(name)} stands there twice, or its pose is no number")
        names.add(name)
        (keypoints,) = np.nonzero(table["point"] != NO_POINT)
        points = table["point"][keypoints].astype(np.int64)
        if (points < 0).any():
            raise ValueError("the number of a point has 64 bits")
        yield ColmapImage(image_id, name, _rotation(np.array(pose[:4])), np.array(pose[4:]), keypoints, points)


def _read_points(path: Path) -> dict[int, NDArray[np.float64]]:
    try:
        if not path.is_file():
            raise InputError(f"{path} is missing: a COLMAP project has sparse/points3D.bin")
        if path.suffix == ".txt":
            return dict(text_points(path))
        data = read_bytes(path, MAX_MODEL_BYTES)
        (count,), offset = struct.unpack_from("<Q", data), 8
        positions = {}
        for _ in range(count):
            point, x, y, z = struct.unpack_from("<Q3d", data, offset)
            if not np.isfinite([x, y, z]).all():
                raise struct.error("a position is no number")
            (length,) = struct.unpack_from("<Q", data, offset + 43)
            positions[point] = np.array([x, y, z])
            offset += 51 + 8 * length
        if offset > len(data):
            raise struct.error("the last track is cut off")
    except InputError:
        raise
    except (struct.error, ValueError, OverflowError) as error:
        raise InputError(f"{path} is truncated or not a COLMAP model ({error})") from None
    return positions


def _rotation(quaternion: NDArray[np.float64]) -> NDArray[np.float64]:
    w, x, y, z = quaternion / np.linalg.norm(quaternion)
    first = [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)]
    second = [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)]
    third = [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)]
    return np.array([first, second, third])
