"""Reading and writing images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.files import atomic_file


def read_grey(path: str | Path) -> NDArray[Any]:
    """Read an image as grey (H, W), uint8, uint16 or float32 as stored. Colour becomes luma (ITU-R BT.601).

    Raises InputError for a file that is missing, truncated or no image.
    """
    path = Path(path)
    try:
        data = np.fromfile(path, dtype=np.uint8)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    image = decode(data, path)
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_BGRA2GRAY if image.shape[2] == 4 else cv2.COLOR_BGR2GRAY)
    return image


def decode(data: NDArray[np.uint8], path: Path) -> NDArray[Any]:
    """Decode the bytes of an image file; `path` names it in errors."""
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED) if len(data) else None
    except cv2.error:
        image = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None:
        raise InputError(f"{path}: truncated or not an image that OpenCV reads (PNG, JPEG, TIFF ...)")
    return np.asarray(image)


def write_image(path: str | Path, image: NDArray[Any]) -> None:
    """Write an image (H, W) or (H, W, 3) RGB, atomically; the suffix chooses the format."""
    if image.ndim == 3:
        image = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    with atomic_file(path) as temporary:
        try:
            data = cv2.imencode(temporary.suffix, image)[1]
        except cv2.error:
            raise InputError(f"{path}: no image format has this suffix: use .png or .jpg") from None
        temporary.write_bytes(data.tobytes())
