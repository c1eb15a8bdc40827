"""COLMAP databases: images, cameras, keypoints, matches and two-view geometries, written without COLMAP.

The tables are those of COLMAP 3; COLMAP 4 adds its own when it opens the database, and makes do without rigs and
frames. Descriptors are left out: COLMAP's are SIFT's bytes, and its mapper needs none.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.export.folder import MatchedFolder, Pair
from tiepoint.features.describe import Features
from tiepoint.features.frames import to_colmap
from tiepoint.files import atomic_file
from tiepoint.geometry.epipolar import estimate_fundamental
from tiepoint.options import Verification
from tiepoint.types import Matrix, Rows

# Name: COLMAP's number of the model, and how many parameters it has.
MODELS = {
    "SIMPLE_PINHOLE": (0, 3),
    "PINHOLE": (1, 4),
    "SIMPLE_RADIAL": (2, 4),
    "RADIAL": (3, 5),
    "OPENCV": (4, 8),
    "OPENCV_FISHEYE": (5, 8),
    "FULL_OPENCV": (6, 12),
}
UNCALIBRATED, PLANAR = 3, 4  # COLMAP's kinds of two-view geometry: a fundamental matrix, a homography
MIN_INLIERS = 8  # that a fundamental matrix needs
LARGEST_ID = 2**31 - 1
HALF = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1]])  # our pixels to COLMAP's
TABLES = """
CREATE TABLE cameras (camera_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, model INTEGER NOT NULL,
    width INTEGER NOT NULL, height INTEGER NOT NULL, params BLOB, prior_focal_length INTEGER NOT NULL);
CREATE TABLE images (image_id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL, name TEXT NOT NULL UNIQUE,
    camera_id INTEGER NOT NULL, prior_qw REAL, prior_qx REAL, prior_qy REAL, prior_qz REAL,
    prior_tx REAL, prior_ty REAL, prior_tz REAL,
    CONSTRAINT image_id_check CHECK(image_id >= 0 and image_id < 2147483647),
    FOREIGN KEY(camera_id) REFERENCES cameras(camera_id));
CREATE UNIQUE INDEX index_name ON images(name);
CREATE TABLE keypoints (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB,
    FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE descriptors (image_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
    data BLOB, FOREIGN KEY(image_id) REFERENCES images(image_id) ON DELETE CASCADE);
CREATE TABLE matches (pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL, data BLOB);
CREATE TABLE two_view_geometries (pair_id INTEGER PRIMARY KEY NOT NULL, rows INTEGER NOT NULL, cols INTEGER NOT NULL,
    data BLOB, config INTEGER NOT NULL, F BLOB, E BLOB, H BLOB, qvec BLOB, tvec BLOB);
"""

# Names are the bytes of the files' names, whether UTF-8 or not, as COLMAP writes them.
ADD_IMAGE = "INSERT INTO images (image_id, name, camera_id) VALUES (?, CAST(? AS TEXT), ?)"


@dataclass(frozen=True, eq=False)
class Camera:
    """A camera. Images that are given the same object share it.

    `params` are COLMAP's of the model, in its pixels: the image's middle is (width / 2, height / 2).
    """

    size: tuple[int, int]  # width and height in pixels
    model: str  # one of MODELS
    params: tuple[float, ...]
    known_focal: bool = False  # whether the focal length is measured rather than guessed

    @classmethod
    def guess(cls, size: tuple[int, int], focal: float | None = None) -> Camera:
        """A SIMPLE_RADIAL camera; without a focal length in pixels it is 1.2 times the longer side, COLMAP's guess."""
        params = (focal or 1.2 * max(size), size[0] / 2, size[1] / 2, 0.0)
        return cls(size, "SIMPLE_RADIAL", params, known_focal=focal is not None)


@dataclass(frozen=True)
class TwoView:
    """The verified geometry of a pair of images, in our pixels; without F COLMAP is told that the pair is planar."""

    inliers: NDArray[np.integer]  # (K, 2) rows of the two images' keypoints
    fundamental: Matrix | None = None  # (3, 3) F with b^T F a = 0
    homography: Matrix | None = None  # (3, 3), a to b


def verify(
    a: Features, b: Features, rows: NDArray[np.integer], options: Verification = Verification()
) -> TwoView | None:
    """Fit the fundamental matrix of a pair by MAGSAC++, or the homography of a flat scene; None for too few inliers.

    Too few are less than `min_inliers` or 8, or so few that matches at random would agree as well (see
    `tiepoint.geometry.epipolar`). Of matches on a plane it is the homography, since they leave the matrix open.
    `rows` (M, 2) are the matches of the features.
    """
    needed = max(options.min_inliers, MIN_INLIERS)
    if len(rows) < needed:
        return None
    points_a, points_b = a.points[rows[:, 0]], b.points[rows[:, 1]]
    sizes = (a.size, b.size)
    found = estimate_fundamental(points_a, points_b, threshold=options.max_residual, seed=options.seed, sizes=sizes)
    inliers = found.inliers if found.plane is None else found.plane.inliers
    if inliers.sum() < needed:
        return None
    return TwoView(rows[inliers], found.matrix, None if found.plane is None else found.plane.matrix)


def verify_all(found: MatchedFolder, options: Verification = Verification()) -> dict[Pair, TwoView]:
    """The geometries of the pairs that have one: see `verify`."""
    features = found.features
    each = {(a, b): verify(features[a], features[b], m.indices, options) for (a, b), m in found.matches.items()}
    return {pair: geometry for pair, geometry in each.items() if geometry is not None}


def write_database(
    path: str | Path,
    images: Mapping[str, Features],
    matches: Mapping[Pair, NDArray[np.integer]],
    cameras: Mapping[str, Camera] | Camera | None = None,
    geometries: Mapping[Pair, TwoView] | None = None,
    *,
    columns: int = 6,
) -> None:
    """Write a COLMAP database, whole or not at all.

    Raises InputError where `path` exists, and for a name, row or camera that does not fit.

    Args:
        images: features by the image's path below COLMAP's image folder; images get ids from 1 in this order.
        matches: for each pair of names (M, 2) rows of the two images' keypoints.
        cameras: one for all, one for each name, or None for a guess for each image.
        geometries: of pairs that were verified. COLMAP's mapper uses these alone; without them let COLMAP verify the
            matches first (`colmap geometric_verifier`, pycolmap.verify_matches).
        columns: of the keypoints, 6 (affine shape) or 4 (scale and orientation).
    """
    path = Path(path)
    for existing in (path.with_name(path.name + suffix) for suffix in ("", "-wal", "-shm", "-journal")):
        if existing.exists():
            raise InputError(f"{existing} exists already: name another database or remove it")
    if len(images) >= LARGEST_ID or not images:
        raise InputError(f"{path}: {len(images)} images: COLMAP takes 1 to {LARGEST_ID - 1}")
    ids = {name: number for number, name in enumerate(images, 1)}
    by_pair = _by_pair(matches, ids, images, "matches")
    geometries = geometries or {}
    verified = _by_pair({names: g.inliers for names, g in geometries.items()}, ids, images, "inliers")
    own = {name: _camera(name, features, cameras) for name, features in images.items()}
    camera_ids = {camera: number for number, camera in enumerate(dict.fromkeys(own.values()), 1)}
    with atomic_file(path) as temporary, closing(sqlite3.connect(temporary)) as database:
        try:
            with database:
                database.executescript(TABLES)
                for camera, number in camera_ids.items():
                    known = (*camera.size, _blob(camera.params, "<f8"), int(camera.known_focal))
                    _insert(database, "cameras", (number, MODELS[camera.model][0], *known))
                for name, features in images.items():
                    database.execute(ADD_IMAGE, (ids[name], os.fsencode(name), camera_ids[own[name]]))
                    table = to_colmap(features.frames, columns)
                    _insert(database, "keypoints", (ids[name], *table.shape, _blob(table, "<f4")))
                for pair, rows in by_pair.items():
                    _insert(database, "matches", (pair, len(rows), 2, _blob(rows, "<u4")))
                for (pair, rows), ((a, b), geometry) in zip(verified.items(), geometries.items(), strict=True):
                    matrices = _matrices(geometry, flip=ids[a] > ids[b])
                    row = (pair, len(rows), 2, _blob(rows, "<u4"), *matrices, None, None)
                    _insert(database, "two_view_geometries", row)
        except sqlite3.Error as error:
            raise InputError(f"{path}: cannot be written ({error}): free space or name another place") from None


def _by_pair(
    tables: Mapping[Pair, NDArray[np.integer]], ids: Mapping[str, int], images: Mapping[str, Features], what: str
) -> dict[int, Rows]:
    """Checked (M, 2) rows by COLMAP's number of the pair, in whose order the image of the smaller id comes first."""
    result: dict[int, Rows] = {}
    for names, table in tables.items():
        title = f"{what} of {' and '.join(names)}"
        missing = [name for name in names if name not in images]
        if missing or names[0] == names[1]:
            raise InputError(f"{title}: {missing[0] if missing else 'they'} must be two different images given")
        rows = np.asarray(table)
        if rows.size == 0:
            rows = np.empty((0, 2), dtype=np.int64)
        if rows.ndim != 2 or rows.shape[1] != 2 or rows.dtype.kind not in "iu":
            raise InputError(f"{title}: {rows.dtype} of shape {rows.shape}: give integers (M, 2)")
        limits = np.array([len(images[name]) for name in names])
        if len(outside := np.argwhere((rows < 0) | (rows >= limits))):
            row, side = outside[0]
            fault = f"keypoint {rows[row, side]}, but {names[side]} has {limits[side]}"
            raise InputError(f"{title}, row {row}: {fault}: give the features that were matched")
        first, second = (ids[name] for name in names)
        pair = min(first, second) * LARGEST_ID + max(first, second)
        if pair in result:
            raise InputError(f"{title}: given in both orders: give one")
        result[pair] = (rows[:, ::-1] if first > second else rows).astype(np.int64)
    return result


def _camera(name: str, features: Features, cameras: Mapping[str, Camera] | Camera | None) -> Camera:
    if cameras is None:
        return Camera.guess(features.size)
    camera = cameras if isinstance(cameras, Camera) else cameras.get(name)
    if camera is None:
        raise InputError(f"{name}: no camera given: give one for each image, one for all, or none")
    if camera.model not in MODELS or len(camera.params) != MODELS[camera.model][1]:
        known = ", ".join(f"{model} ({count})" for model, (_, count) in MODELS.items())
        raise InputError(f"{name}: camera {camera.model} with {len(camera.params)} parameters: there are {known}")
    if tuple(camera.size) != tuple(features.size):
        sizes = (f"{width}x{height}" for width, height in (features.size, camera.size))
        raise InputError("{}: is {} pixels, its camera {}: give its own".format(name, *sizes))
    return camera


def _matrices(geometry: TwoView, flip: bool) -> tuple[int, bytes | None, None, bytes | None]:
    """Kind, F, E and H as COLMAP stores them, for the images in the order of their ids."""
    to_ours = np.linalg.inv(HALF)
    fundamental = homography = None
    if geometry.fundamental is not None:
        matrix = to_ours.T @ geometry.fundamental @ to_ours
        fundamental = _blob(matrix.T if flip else matrix, "<f8")
    if geometry.homography is not None:
        matrix = HALF @ geometry.homography @ to_ours
        homography = _blob(np.linalg.inv(matrix) if flip else matrix, "<f8")
    return PLANAR if fundamental is None and homography is not None else UNCALIBRATED, fundamental, None, homography


def _insert(database: sqlite3.Connection, table: str, row: tuple[Any, ...]) -> None:
    database.execute(f"INSERT INTO {table} VALUES ({', '.join('?' * len(row))})", row)


def _blob(values: Any, dtype: str) -> bytes:
    return np.ascontiguousarray(values, dtype=dtype).tobytes()
