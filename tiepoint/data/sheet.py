"""A contact sheet of a PatchSet: what the patches of some of its points look like, side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.imaging.io import to_uint8
from tiepoint.patches import SIZE, PatchSet

LINE = 2  # pixels between patches
PAPER = 255


def contact_sheet(patch_set: PatchSet, rows: int = 12, columns: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Draw one row a point, one column a patch of it.

    Points that occur once are drawn only where too few others exist. Patches of three channels are shown as RGB, of any
    other number by their first channel. 16-bit patches are stretched, all of a sheet alike, for display only.

    Args:
        patch_set: only the drawn patches are read.
        rows: points at most, drawn without repetition.
        columns: patches of a point at most, drawn without repetition, in the order of the set.
        seed: of the points and patches.

    Returns:
        (H, W) grey or (H, W, 3) RGB.
    """
    random = np.random.default_rng(seed)
    chosen = [
        np.sort(random.permutation(patches)[:columns]) for patches in _draw_points(patch_set.points, rows, random)
    ]
    planes = slice(None) if patch_set.patches.shape[1] == 3 else slice(1)
    cells = to_uint8(np.concatenate([patch_set.patches[patches][:, planes] for patches in chosen]))
    step = SIZE + LINE
    width = max(map(len, chosen))
    sheet = np.full((cells.shape[1], LINE + len(chosen) * step, LINE + width * step), PAPER, dtype=np.uint8)
    places = ((y, x) for y, patches in enumerate(chosen) for x in range(len(patches)))
    for cell, (y, x) in zip(cells, places, strict=True):
        sheet[:, LINE + y * step : (y + 1) * step, LINE + x * step : (x + 1) * step] = cell
    return sheet[0] if len(sheet) == 1 else np.ascontiguousarray(sheet.transpose(1, 2, 0))


def _draw_points(points: NDArray[np.int64], count: int, random: np.random.Generator) -> list[NDArray[Any]]:
    """Rows of the patches of up to `count` points."""
    order = np.argsort(points, kind="stable")
    _, starts, counts = np.unique(points[order], return_index=True, return_counts=True)
    shuffled = random.permutation(len(starts))
    preferred = shuffled[np.argsort(counts[shuffled] < 2, kind="stable")][:count]  # points with a match first
    return [order[starts[k] : starts[k] + counts[k]] for k in preferred]
