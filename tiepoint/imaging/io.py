"""Reading and writing images, and what their bit depth means."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.files import atomic_file

Image = str | Path | NDArray[Any]
DTYPES = (np.uint8, np.uint16, np.float32)
PERCENTILES = (0.1, 99.9)
SAMPLE = 1_000_000


def read_grey(path: str | Path) -> NDArray[Any]:
    """Read an image as grey (H, W), uint8, uint16 or float32 as stored. Colour becomes luma (ITU-R BT.601).

    Pixels lie as stored: an EXIF orientation is not applied, as in COLMAP. Float64 is read as float32.
    Raises InputError for a file that is missing, empty, truncated, no image, of another type, or with NaN or infinity.
    """
    path = Path(path)
    try:
        data = np.frombuffer(path.read_bytes(), dtype=np.uint8)
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise InputError(f"{path}: is a folder: name an image file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    image = decode(data, path)
    if image.ndim == 3 and image.shape[2] not in (3, 4):
        raise InputError(f"{path}: has {image.shape[2]} bands: give a grey or a colour image")
    if image.ndim == 3:
        image = cv2.cvtColor(_checked(image, path), cv2.COLOR_BGRA2GRAY if image.shape[2] == 4 else cv2.COLOR_BGR2GRAY)
    return _checked(image, path)


def as_grey(image: Image, name: str = "image") -> tuple[NDArray[Any], str]:
    """An image given as a path or an array, as grey (H, W), and the name that errors call it by.

    Arrays are (H, W), (1, H, W), or (3, H, W) in RGB order, uint8, uint16 or float. Raises InputError.
    """
    if isinstance(image, str | Path):
        return read_grey(image), str(image)
    array = np.asarray(image)
    if array.ndim not in (2, 3) or (array.ndim == 3 and len(array) not in (1, 3)):
        raise InputError(f"{name}: shape {array.shape}: give (H, W), (1, H, W) or RGB as (3, H, W)")
    array = _checked(array, name)
    if array.ndim == 3:
        array = array[0] if len(array) == 1 else cv2.cvtColor(np.dstack(list(array)), cv2.COLOR_RGB2GRAY)
    return np.ascontiguousarray(array), name


def decode(data: NDArray[np.uint8], path: Path) -> NDArray[Any]:
    """Decode the bytes of an image file as stored, (H, W) or (H, W, C) in BGR order; `path` names it in errors."""
    if not len(data):
        raise InputError(f"{path}: is empty: copy it again")
    if not _complete(data.tobytes()):
        raise InputError(f"{path}: is truncated or damaged: copy it again")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(data, cv2.IMREAD_UNCHANGED)
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


def value_range(image: NDArray[Any]) -> tuple[float, float]:
    """The grey values that stand for 0 and 1: 0 and 255 for uint8, else the image's 0.1 and 99.9 percentiles.

    16-bit and float images seldom fill their range. Where the percentiles coincide, the minimum and maximum are taken.
    """
    if image.dtype == np.uint8:
        return 0.0, 255.0
    sample = image.reshape(-1)[:: max(1, image.size // SAMPLE)]
    low, high = (float(v) for v in np.percentile(sample, PERCENTILES))
    return (low, high) if high > low else (float(image.min()), float(image.max()))


def to_unit(image: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Grey values mapped linearly, `limits` to 0 and 1, float32; values beyond the limits are kept, not clipped."""
    low, high = limits
    return (image.astype(np.float32) - np.float32(low)) * np.float32(1 / max(high - low, 1e-30))


def to_uint8(image: NDArray[Any]) -> NDArray[np.uint8]:
    """An 8-bit version for detectors and for display, stretched by `value_range`; uint8 is returned as it is."""
    if image.dtype == np.uint8:
        return np.asarray(image, dtype=np.uint8)
    stretched: NDArray[np.uint8] = np.rint(to_unit(image, value_range(image)).clip(0, 1) * 255).astype(np.uint8)
    return stretched


def _checked(image: NDArray[Any], name: str | Path) -> NDArray[Any]:
    if image.dtype == np.float64:
        image = image.astype(np.float32)
    if image.dtype not in DTYPES:
        raise InputError(f"{name}: grey values are {image.dtype}: give uint8, uint16 or float32")
    if image.dtype == np.float32 and not np.isfinite(image).all():
        raise InputError(f"{name}: holds NaN or infinite values: fill them first")
    return image


def _complete(data: bytes) -> bool:
    """False for a PNG or JPEG that ends early: decoders may fill the rest with grey or print to standard error."""
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        return _png_ends(data)
    return _jpeg_ends(data) if data.startswith(b"\xff\xd8\xff") else True


def _png_ends(data: bytes) -> bool:
    """Follow the chunks to IEND, each with its check sum."""
    at = 8
    while at + 12 <= len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "big")
        if end + 4 > len(data) or zlib.crc32(data[at + 4 : end]) != int.from_bytes(data[end : end + 4], "big"):
            return False
        if data[at + 4 : at + 8] == b"IEND":
            return True
        at = end + 4
    return False


def _jpeg_ends(data: bytes) -> bool:
    """Follow the segments to the end marker. Its bytes may also stand inside a segment, as of an EXIF thumbnail."""
    at = 2
    while (at := data.find(b"\xff", at)) >= 0 and at + 1 < len(data):
        marker = data[at + 1]
        if marker == 0xD9:
            return True
        bare = marker in (0x00, 0x01, 0xFF) or 0xD0 <= marker <= 0xD8  # stuffing, fill bytes, restarts: no length
        at += (1 if marker == 0xFF else 2) if bare else 2 + max(2, int.from_bytes(data[at + 2 : at + 4], "big"))
    return False
