"""Features of two views of points in space, without images: descriptors are random and equal where points are."""

from __future__ import annotations

import numpy as np

from tiepoint.features.describe import Features
from tiepoint.features.frames import compose

SIZE = (640, 480)
CAMERA_A = np.array([[500.0, 0, 320], [0, 500, 240], [0, 0, 1]])
CAMERA_B = np.array([[520.0, 0, 315], [0, 515, 245], [0, 0, 1]])
SHIFT = np.array([1.0, 0.1, 0.2])


def rotation(angle: float = 0.05) -> np.ndarray:
    """About the axis up."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def seen(
    count: int = 200, wrong: int = 60, noise: float = 0.3, depth: tuple[float, float] = (4, 9), seed: int = 0
) -> tuple[Features, Features]:
    """`count` points seen by both cameras, and `wrong` matches at random behind them."""
    rng = np.random.default_rng(seed)
    scene = rng.uniform((-2, -1.5, depth[0]), (2, 1.5, depth[1]), (count, 3))
    views = []
    descriptors = rng.normal(size=(count + wrong, 32)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    for camera, points in ((CAMERA_A, scene), (CAMERA_B, scene @ rotation().T + SHIFT)):
        pixels = points @ camera.T
        places = pixels[:, :2] / pixels[:, 2:] + rng.normal(scale=noise, size=(count, 2))
        places = np.vstack([places, rng.uniform((0, 0), SIZE, (wrong, 2))])
        frames = compose(places, np.ones(len(places)), np.zeros(len(places)))
        views.append(Features(frames, descriptors, np.ones(len(places), np.float32), SIZE, "made"))
    return views[0], views[1]


def fundamental() -> np.ndarray:
    """The true F, of norm 1."""
    x, y, z = SHIFT
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = np.linalg.inv(CAMERA_B).T @ cross @ rotation() @ np.linalg.inv(CAMERA_A)
    return matrix / np.linalg.norm(matrix)
