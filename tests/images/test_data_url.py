from __future__ import annotations

import base64

import cv2
import numpy as np
import pytest

from tiepoint.images.data_url import data_url, data_url_within


def decoded(url: str) -> tuple[str, np.ndarray, int]:
    """Kind, image in RGB order, and number of bytes."""
    head, data = url.split(",")
    raw = base64.b64decode(data)
    image = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_UNCHANGED)
    return head, image if image.ndim == 2 else image[:, :, ::-1], len(raw)


@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3)])
def test_a_png_holds_the_pixels(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for url in (data_url(image), data_url_within(image, 10_000)):
        head, shown, _ = decoded(url)
        assert head == "data:image/png;base64"
        np.testing.assert_array_equal(shown, image)


def test_what_is_too_large_becomes_a_jpeg_and_then_smaller() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (200, 300), dtype=np.uint8)
    head, shown, size = decoded(data_url_within(noise, 40_000))
    assert head == "data:image/jpeg;base64"
    assert size <= 40_000
    assert shown.shape == (200, 300)
    _, shown, size = decoded(data_url_within(noise, 2_000))
    assert size <= 2_000
    assert shown.shape[0] < 200
    assert shown.shape[1] / shown.shape[0] == pytest.approx(1.5, rel=0.1)
    assert decoded(data_url_within(noise, 1))[1].shape == (1, 1)
