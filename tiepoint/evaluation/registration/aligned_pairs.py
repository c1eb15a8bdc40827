"""What measurements of registration share: pairs of aligned images, and seeded warps, whose truth is then known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

DEGREES, SCALES, SHIFT = 15.0, (0.9, 1.1), 0.1


def image_pairs(folder: Path, one: str, two: str) -> list[tuple[Path, Path]]:
    """The images NAME_one.jpg anywhere in a folder, by path, each with the NAME_two.jpg beside it if there is one."""
    firsts = sorted(folder.rglob(f"*_{one}.jpg"))
    pairs = [(first, first.with_name(first.name.removesuffix(f"{one}.jpg") + f"{two}.jpg")) for first in firsts]
    return [(first, second) for first, second in pairs if second.is_file()]


def small_warp(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A similarity (3, 3) of an image of `shape` (H, W), drawn uniformly.

    About the image's centre: up to DEGREES either way, SCALES, and a shift of up to SHIFT of the sides along each.
    """
    height, width = shape
    turn, scale = np.deg2rad(random.uniform(-DEGREES, DEGREES)), random.uniform(*SCALES)
    linear = scale * np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + random.uniform(-SHIFT, SHIFT, 2) * [width, height] - linear @ centre
    return matrix
