"""A contact sheet of a PatchSet: what the patches of some of its points look like, side by side."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.data.labelled_pairs import is_cross
from tiepoint.images.pixels import to_uint8
from tiepoint.patches import SIZE, PatchSet

LINE_PX, GAP_PX = 2, 12  # between patches, and between pairs
PAPER = 255


def contact_sheet(patch_set: PatchSet, rows: int = 12, columns: int = 8, seed: int = 0) -> NDArray[np.uint8]:
    """Draw a row for each point and a column for each of its patches; for a set of two spectra, pairs of patches.

    Up to `rows` points, for two spectra up to columns / 2 in each row, and up to `columns` patches of each are drawn
    without repetition, and only these are read. Points that occur once are drawn only where too few others exist.
    Patches of three channels are shown as RGB, of any other number by their first channel. 16-bit patches are stretched
    for display only, all of one spectrum in a sheet alike. Returns (H, W) grey or (H, W, 3) RGB.
    """
    random = np.random.default_rng(seed)
    chosen = _draw_pairs(patch_set, rows, columns // 2, random) if is_cross(patch_set) else []
    gap = GAP_PX if chosen else 0
    chosen = chosen or [
        np.sort(random.permutation(patches)[:columns]) for patches in _draw_points(patch_set.points, rows, random)
    ]
    flat = np.concatenate(chosen)
    planes = slice(None) if patch_set.patches.shape[1] == 3 else slice(1)
    cells = np.stack([patch_set.patches[row][planes] for row in flat])
    shown = np.empty(cells.shape, dtype=np.uint8)
    for spectrum in np.unique(patch_set.spectra[flat]):
        own = patch_set.spectra[flat] == spectrum
        shown[own] = to_uint8(cells[own])
    step = SIZE + LINE_PX
    width = max(map(len, chosen))
    size = LINE_PX + len(chosen) * step, LINE_PX + width * step + gap * ((width - 1) // 2)
    sheet = np.full((cells.shape[1], *size), PAPER, dtype=np.uint8)
    corners = ((y * step, x * step + gap * (x // 2)) for y, patches in enumerate(chosen) for x in range(len(patches)))
    for cell, (y, x) in zip(shown, corners, strict=True):
        sheet[:, y + LINE_PX : y + step, x + LINE_PX : x + step] = cell
    return sheet[0] if len(sheet) == 1 else np.ascontiguousarray(sheet.transpose(1, 2, 0))


def _draw_pairs(patch_set: PatchSet, rows: int, columns: int, random: np.random.Generator) -> list[NDArray[Any]]:
    """Rows of the patches of up to `rows` x `columns` points that both spectra show; in each the first patch."""
    first, second = (np.flatnonzero(patch_set.spectra == side) for side in (0, 1))
    points = patch_set.points
    _, left, right = np.intersect1d(points[first], points[second], return_indices=True)
    drawn = random.permutation(len(left))[: rows * columns]
    pairs = np.stack([first[left[drawn]], second[right[drawn]]], axis=1)
    return [pairs[start : start + columns].reshape(-1) for start in range(0, len(pairs), columns)]


def _draw_points(points: NDArray[np.int64], count: int, random: np.random.Generator) -> list[NDArray[Any]]:
    """Rows of the patches of up to `count` points."""
    order = np.argsort(points, kind="stable")
    _, starts, counts = np.unique(points[order], return_index=True, return_counts=True)
    shuffled = random.permutation(len(starts))
    preferred = shuffled[np.argsort(counts[shuffled] < 2, kind="stable")][:count]  # points with a match first
    return [order[starts[k] : starts[k] + counts[k]] for k in preferred]
