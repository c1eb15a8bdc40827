"""Small made-up data with known truth: a COLMAP project of a textured plane, and a PatchSet whose patches match."""

from __future__ import annotations

import sqlite3
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.patches import PatchSet

NO_POINT = 2**64 - 1
FOCAL, WIDTH, HEIGHT = 300.0, 320, 240
TEXTURE = 100.0  # texture pixels a unit of the plane, which spans [-3, 3]^2 at z = 0


@dataclass(frozen=True)
class Camera:
    """A pinhole camera that looks at the plane: x_camera = rotation @ x + translation."""

    rotation: NDArray[np.float64]
    translation: NDArray[np.float64]

    @property
    def centre(self) -> NDArray[np.float64]:
        return -self.rotation.T @ self.translation

    def homography(self) -> NDArray[np.float64]:
        """Plane (x, y, 1) -> pixel (u, v, 1), pixel centres at integers."""
        intrinsics = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])
        return intrinsics @ np.column_stack([self.rotation[:, 0], self.rotation[:, 1], self.translation])


@dataclass(frozen=True)
class SyntheticScene:
    """What `colmap_project` wrote. Observation k of camera c is `tracks[c][k]`, an index into `points`."""

    directory: Path
    cameras: list[Camera]
    points: NDArray[np.float64]  # (P, 3); COLMAP's id is the index + 1
    tracks: list[NDArray[np.int64]]
    frames: list[NDArray[np.float64]]  # for each camera (M, 2, 3), pixel centres at integers


def smooth_texture(size: int, seed: int) -> NDArray[np.uint8]:
    """Random texture (size, size) with detail from 2 to 16 pixels."""
    rng = np.random.default_rng(seed)
    total = np.zeros((size, size), dtype=np.float32)
    for sigma in (2, 4, 8, 16):
        layer = cv2.GaussianBlur(rng.standard_normal((size, size)).astype(np.float32), (0, 0), sigma)
        total += layer / layer.std()
    return np.clip(128 + 30 * total, 0, 255).astype(np.uint8)


def look_at(centre: Sequence[float], roll: float = 0.0) -> Camera:
    """A camera at `centre` that looks at the origin, turned by `roll` radians about its axis."""
    position = np.asarray(centre, dtype=np.float64)
    forward = -position / np.linalg.norm(position)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    level = np.stack([right, np.cross(forward, right), forward])
    cos, sin = np.cos(roll), np.sin(roll)
    rotation = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]]) @ level
    return Camera(rotation, -rotation @ position)


def colmap_project(directory: Path, points: int = 120, cameras: int = 4, seed: int = 0) -> SyntheticScene:
    """Write a COLMAP project (images/, sparse/*.bin, database.db) of a textured plane; every camera sees every point.

    Keypoints have 6 columns: the plane's axes as seen by the camera, one sigma long, so patches of one point show the
    same texture up to perspective. Every third keypoint of an image belongs to no track, as in real models.
    """
    rng = np.random.default_rng(seed)
    texture = smooth_texture(int(6 * TEXTURE), seed)
    views = [
        look_at((4 * np.sin(a), 0.3 * np.cos(5 * a), -4 * np.cos(a)), roll=0.2 * k)
        for k, a in enumerate(np.linspace(-0.5, 0.4, cameras))
    ]
    world = np.column_stack([rng.uniform(-0.9, 0.9, points), rng.uniform(-0.6, 0.6, points), np.zeros(points)])
    sigma = rng.uniform(0.025, 0.035, points)
    turn = rng.uniform(-np.pi, np.pi, points)
    (directory / "images").mkdir(parents=True)
    tracks, frames = [], []
    for k, view in enumerate(views):
        homography = view.homography()
        from_texture = np.array([[1 / TEXTURE, 0, -3], [0, 1 / TEXTURE, -3], [0, 0, 1]])
        image = cv2.warpPerspective(texture, homography @ from_texture, (WIDTH, HEIGHT), flags=cv2.INTER_AREA)
        cv2.imwrite(str(directory / "images" / f"view{k}.png"), image)
        tracks.append(rng.permutation(points))
        frames.append(_plane_frames(homography, world[tracks[-1]], sigma[tracks[-1]], turn[tracks[-1]]))
    scene = SyntheticScene(directory, views, world, tracks, frames)
    _write_model(scene)
    _write_database(scene)
    return scene


def small_patch_set(
    directory: Path, points: int = 20, per_point: int = 3, seed: int = 0, margin: float = 1.0, noise: float = 4.0
) -> PatchSet:
    """Write a PatchSet: patch k of a point lies in image k and shows the point's own texture.

    Gaussian `noise` (grey levels) tells patches of a point apart. The rows are shuffled: no reader may rely on order.
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(points * per_point)
    with PatchSet.create(directory, points * per_point, margin=margin) as writer:
        for row, index in enumerate(order):
            point, image = divmod(int(index), per_point)
            patch = smooth_texture(64, 1000 * seed + point) + noise * rng.standard_normal((64, 64))
            writer.patches[row, 0] = np.clip(np.rint(patch), 0, 255)
            writer.points[row], writer.images[row], writer.spectra[row] = point, image, 0
        writer.image_names += [f"image{k}.png" for k in range(per_point)]
    return PatchSet.open(directory)


def pixel_describer(patches: Any) -> Any:
    """A describer without weights: the patch reduced to 8x8, centred, of unit length."""
    import torch

    small = torch.nn.functional.interpolate(patches, size=(8, 8), mode="bilinear", antialias=True).flatten(1)
    return torch.nn.functional.normalize(small - small.mean(dim=1, keepdim=True), dim=1)


def _plane_frames(
    homography: NDArray[np.float64], world: NDArray[np.float64], sigma: NDArray[np.float64], turn: NDArray[np.float64]
) -> NDArray[np.float64]:
    mapped = np.column_stack([world[:, :2], np.ones(len(world))]) @ homography.T
    pixels = mapped[:, :2] / mapped[:, 2:]
    jacobian = (homography[None, :2, :2] - pixels[:, :, None] * homography[None, 2:, :2]) / mapped[:, 2:, None]
    cos, sin = np.cos(turn), np.sin(turn)
    axes = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1) * sigma[:, None, None]
    return np.concatenate([jacobian @ axes, pixels[:, :, None]], axis=2)


def _keypoint_rows(observations: int) -> NDArray[np.int64]:
    """Rows of the keypoint table that belong to tracks: all but every third."""
    rows = np.arange(2 * observations)
    return rows[rows % 3 != 2][:observations]


def _keypoint_table(frames: NDArray[np.float64]) -> NDArray[np.float32]:
    rows = _keypoint_rows(len(frames))
    table = np.zeros((int(rows[-1]) + 1, 6), dtype=np.float32)
    table[:, 2] = table[:, 5] = 1.0
    table[rows, :2] = frames[:, :, 2] + 0.5  # COLMAP: the top-left pixel's centre is (0.5, 0.5)
    table[rows, 2:] = frames[:, :, :2].reshape(-1, 4)
    return table


def _write_model(scene: SyntheticScene) -> None:
    folder = scene.directory / "sparse"
    folder.mkdir()
    pinhole = struct.pack("<IiQQ4d", 1, 1, WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2)
    (folder / "cameras.bin").write_bytes(struct.pack("<Q", 1) + pinhole)
    images = struct.pack("<Q", len(scene.cameras))
    for k, (view, track, frames) in enumerate(zip(scene.cameras, scene.tracks, scene.frames, strict=True)):
        images += struct.pack("<I7dI", k + 1, *_quaternion(view.rotation), *view.translation, 1)
        table = _keypoint_table(frames)
        images += f"view{k}.png".encode() + b"\0" + struct.pack("<Q", len(table))
        ids = np.full(len(table), NO_POINT, dtype=np.uint64)
        ids[_keypoint_rows(len(frames))] = track + 1
        for (x, y), point in zip(table[:, :2].tolist(), ids.tolist(), strict=True):
            images += struct.pack("<ddQ", x, y, point)
    (folder / "images.bin").write_bytes(images)
    points = struct.pack("<Q", len(scene.points))
    rows = [np.argsort(track) for track in scene.tracks]
    for index, position in enumerate(scene.points):
        points += struct.pack("<Q3d3Bd", index + 1, *position, 128, 128, 128, 0.1)
        points += struct.pack("<Q", len(scene.cameras))
        for k, row in enumerate(rows):
            points += struct.pack("<II", k + 1, int(_keypoint_rows(len(row))[row[index]]))
    (folder / "points3D.bin").write_bytes(points)


def _write_database(scene: SyntheticScene) -> None:
    database = sqlite3.connect(scene.directory / "database.db")
    with database:
        database.execute("CREATE TABLE images (image_id INTEGER PRIMARY KEY, name TEXT UNIQUE, camera_id INTEGER)")
        database.execute("CREATE TABLE keypoints (image_id INTEGER PRIMARY KEY, rows INTEGER, cols INTEGER, data BLOB)")
        for k, frames in enumerate(scene.frames):
            table = _keypoint_table(frames)
            database.execute("INSERT INTO images VALUES (?, ?, 1)", (k + 1, f"view{k}.png"))
            database.execute("INSERT INTO keypoints VALUES (?, ?, 6, ?)", (k + 1, len(table), table.tobytes()))
    database.close()


def _quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Unit quaternion (w, x, y, z) of a rotation by less than 180 degrees."""
    w = np.sqrt(1 + np.trace(rotation)) / 2
    skew = rotation - rotation.T
    return np.array([w, *(np.array([skew[2, 1], skew[0, 2], skew[1, 0]]) / (4 * w))])
