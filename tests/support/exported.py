"""Features of made-up scenes with known truth."""

from __future__ import annotations

import numpy as np
from synthetic import look_at

from tiepoint.features.describe import Features
from tiepoint.features.frames import compose

FOCAL, WIDTH, HEIGHT = 500.0, 640, 480
INTRINSICS = np.array([[FOCAL, 0, (WIDTH - 1) / 2], [0, FOCAL, (HEIGHT - 1) / 2], [0, 0, 1]])


def made_features(
    count: int, seed: int = 0, points: np.ndarray | None = None, size: tuple[int, int] = (120, 100)
) -> Features:
    """Features at random points, or those given, with unit descriptors of 8 numbers."""
    rng = np.random.default_rng(seed)
    places = rng.uniform(0, 100, (count, 2)) if points is None else points
    descriptors = rng.normal(size=(count, 8)).astype(np.float32)
    descriptors /= np.linalg.norm(descriptors, axis=1, keepdims=True)
    kept = compose(places, rng.uniform(1, 5, count), rng.uniform(-3, 3, count))
    return Features(kept, descriptors, rng.uniform(0, 1, count).astype(np.float32), size, "made")


def cameras(count: int = 4) -> list[np.ndarray]:
    """Projections (3, 4) of cameras around the origin, pixel centres at integers."""
    views = [
        look_at((4 * np.sin(a), 0.3 * np.cos(5 * a), -4 * np.cos(a)), roll=0.2 * k)
        for k, a in enumerate(np.linspace(-0.5, 0.5, count))
    ]
    return [INTRINSICS @ np.column_stack([view.rotation, view.translation]) for view in views]


def project(camera: np.ndarray, world: np.ndarray) -> np.ndarray:
    """Pixels (N, 2) of points (N, 3)."""
    homogeneous = np.hstack([world, np.ones((len(world), 1))]) @ camera.T
    return homogeneous[:, :2] / homogeneous[:, 2:]


def fundamental(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """F with b^T F a = 0 of two projections."""
    centre = np.linalg.svd(a)[2][-1]
    x, y, z = b @ centre
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    matrix = cross @ b @ np.linalg.pinv(a)
    return matrix / np.linalg.norm(matrix)


def scene(points: int = 150, count: int = 4, seed: int = 0) -> dict[str, Features]:
    """Images that all see the same points, in the same order, without noise."""
    world = np.random.default_rng(seed).uniform(-1, 1, (points, 3))
    return {
        f"view{k}.png": made_features(points, k, project(camera, world), (WIDTH, HEIGHT))
        for k, camera in enumerate(cameras(count))
    }
