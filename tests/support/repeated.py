"""Images whose texture repeats itself, 320 px wide and 240 high."""

from __future__ import annotations

import cv2
import numpy as np

SHAPE = (240, 320)


def chessboard(side: int, shift: tuple[int, int] = (0, 0), noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Squares of `side` px, seen `shift` px (x, y) further on."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    squares = ((x + shift[0]) // side + (y + shift[1]) // side) % 2
    return _noisy(50.0 + 150 * squares, noise, seed)


def bricks(shift: tuple[int, int] = (0, 0), noise: float = 5.0, seed: int = 0) -> np.ndarray:
    """Bricks of 48 x 20 px, every second row half a brick further on, seen `shift` px (x, y) further on."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    x, y = x + shift[0], y + shift[1]
    along = x + y // 20 % 2 * 24
    joints = (y % 20 < 3) | (along % 48 < 3)
    return np.asarray(cv2.GaussianBlur(_noisy(np.where(joints, 60.0, 170.0), noise, seed), (0, 0), 0.8))


def _noisy(grey: np.ndarray, noise: float, seed: int) -> np.ndarray:
    return (grey + np.random.default_rng(seed).normal(0, noise, grey.shape)).clip(0, 255).astype(np.uint8)
