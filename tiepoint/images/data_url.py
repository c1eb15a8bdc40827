"""Pictures inside pages of HTML, as data URLs."""

import base64

import cv2
import numpy as np
from numpy.typing import NDArray

JPEG_QUALITIES = (90, 80, 65, 50)
SHRINK_FACTOR = 0.7


def data_url(image: NDArray[np.uint8]) -> str:
    """An image (H, W) grey or (H, W, 3) RGB, uint8, as a PNG in a data URL."""
    return _url("png", _encode(image, ".png"))


def data_url_within(image: NDArray[np.uint8], limit: int) -> str:
    """An image in a data URL of at most `limit` bytes, before base64 adds a third: a PNG if it fits, else a JPEG.

    The JPEG has the best of a few qualities that fits; if none does, the image is reduced step by step to a pixel.
    """
    if image.size <= 2 * limit:  # the PNG of a larger photograph never fits, and encoding takes long
        png = _encode(image, ".png")
        if len(png) <= limit:
            return _url("png", png)
    while True:
        for quality in JPEG_QUALITIES:
            jpeg = _encode(image, ".jpg", cv2.IMWRITE_JPEG_QUALITY, quality)
            if len(jpeg) <= limit or max(image.shape[:2]) == 1:
                return _url("jpeg", jpeg)
        height, width = (max(1, int(side * SHRINK_FACTOR)) for side in image.shape[:2])
        image = np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _encode(image: NDArray[np.uint8], suffix: str, *options: int) -> bytes:
    bgr = image if image.ndim == 2 else np.ascontiguousarray(image[:, :, ::-1])
    data: bytes = cv2.imencode(suffix, bgr, options)[1].tobytes()
    return data


def _url(kind: str, data: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"
