"""Which keypoints two images can share, and the pixels at them."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tiepoint.data.builders.aligned import cut, fits_both, project, select


@given(
    points=st.lists(st.tuples(st.integers(0, 119), st.integers(0, 99)), max_size=60),
    distance=st.sampled_from([0, 0.5, 1, 2, 2.5, 8, 300]),
    shift=st.tuples(st.integers(-20, 20), st.integers(-20, 20)),
)
def test_select_against_one_by_one(points: list[tuple[int, int]], distance: float, shift: tuple[int, int]) -> None:
    matrix = np.array([[1.0, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]])
    kept: list[tuple[int, int]] = []
    for x, y in points:
        u, v = x + shift[0], y + shift[1]
        own = 35 <= x <= 119 - 35 and 35 <= y <= 99 - 35
        other = 32 <= u <= 109 - 31 and 32 <= v <= 89 - 31
        far = all(abs(x - a) >= distance or abs(y - b) >= distance for a, b in kept)
        if own and other and far and (x, y) not in kept:
            kept.append((x, y))
    given_points = np.array(points, dtype=np.float64).reshape(-1, 2)
    found = select(given_points, matrix, (1, 100, 120), (3, 90, 110), distance, 35)
    assert [tuple(point) for point in found.astype(int).tolist()] == kept


def test_nothing_is_cut_beyond_the_horizon() -> None:
    matrix = np.array([[1, 0, 0], [0, 1, 0], [-0.01, 0, 1.0]])  # the horizon lies at x = 100
    assert np.isnan(project(np.array([[100.0, 5], [300, 5]]), matrix)).all()
    points = np.array([[40.0, 100], [90, 100], [300, 100]])
    assert fits_both(points, matrix, (1, 1000, 1000), (1, 10**6, 10**6), 32).tolist() == [True, False, False]


def test_sampling_reaches_the_last_pixel_of_any_width() -> None:
    image = np.arange(64 * 70_000, dtype=np.uint32).reshape(1, 64, 70_000).astype(np.uint16)
    points = np.array([[70_000 - 32.0, 32]])
    np.testing.assert_array_equal(cut(image, points, np.eye(3))[0], image[:, :, -64:])
    half = np.array([[1, 0, -0.5], [0, 1, 0], [0, 0, 1]])
    middle = (image[0, :, -65:-1].astype(float) + image[0, :, -64:]) / 2
    np.testing.assert_allclose(cut(image, points, half)[0, 0], middle, atol=0.5)
