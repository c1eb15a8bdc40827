from __future__ import annotations

import numpy as np

from tiepoint.registration.overlay import overlay

Pair = tuple[np.ndarray, np.ndarray]


def test_the_overlay_of_registered_images_is_grey(pair: Pair, truth: np.ndarray) -> None:
    picture = overlay(*pair, truth).astype(int)
    assert picture.shape == (360, 480, 3)
    inner = picture[80:-80, 100:-100]
    assert np.abs(inner[..., 0] - inner[..., 1]).mean() < 5
    off = overlay(*pair, np.eye(3)).astype(int)[80:-80, 100:-100]
    assert np.abs(off[..., 0] - off[..., 1]).mean() > 20


def test_the_checkerboard_takes_both_images_in_turn() -> None:
    a, b = np.full((80, 80), 40000, dtype=np.uint16), np.full((80, 80), 200, dtype=np.uint8)
    a[0, 0] = 0
    board = overlay(a, b, np.eye(3), "checkerboard", tiles=2)
    assert (board[:40, :40] == 200).all()
    assert (board[:40, 40:] == 255).all()
