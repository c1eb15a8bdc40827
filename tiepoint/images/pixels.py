"""Decoding and writing images, and what their bit depth means. They are read by `tiepoint.images.raster`."""

import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.files import GENERATOR, atomic_file
from tiepoint.images.header import Header, check_opencv, check_size, complete, inspect
from tiepoint.images.tiff import WHITE

DTYPES = (np.uint8, np.uint16, np.float32)
PERCENTILES = (0.1, 99.9)
MAX_SAMPLES = 1_000_000


def decode(data: NDArray[np.uint8], path: str | Path, max_pixels: int | None = None) -> NDArray[Any]:
    """Decode the bytes of an image file as stored, (H, W) or (H, W, C) in BGR order; `path` names it in errors.

    `max_pixels` replaces the limit of `tiepoint.images.header`, which is checked before anything is decoded.
    """
    header = inspect(BytesIO(data.tobytes()), path)
    check_size(header.width, header.height, path, max_pixels, pixel_bytes=header.pixel_bytes)
    return decode_as(header, data, path)


def decode_as(header: Header, data: NDArray[np.uint8], path: str | Path) -> NDArray[Any]:
    """`decode`, for callers who have inspected the header and checked the size."""
    if header.kind == "raw":
        raise InputError(f"{path}: is a camera's raw file: develop it to a TIFF")
    check_opencv(header, path)
    if header.kind in ("png", "jpeg") and not complete(data.tobytes()):
        raise InputError(f"{path}: is truncated or damaged: copy it again")
    level = cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
    try:
        image = cv2.imdecode(_as_stored(data, header, path), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        image = None
    finally:
        cv2.utils.logging.setLogLevel(level)
    if image is None:
        raise InputError(f"{path}: truncated or not an image that OpenCV reads (PNG, JPEG, TIFF ...)")
    if header.tiff is not None and header.tiff.photometric == WHITE and image.dtype == np.uint16:
        image = 65535 - image  # OpenCV turns 8 bits alone
    if 1 < header.levels < 256:  # a portable map counts up to what it says
        image = np.rint(image * (255 / (header.levels - 1))).clip(0, 255).astype(np.uint8)
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
        temporary.write_bytes(_signed(data.tobytes()))


def _signed(data: bytes) -> bytes:
    """A PNG or JPEG with a comment that says what wrote it, behind its first part; other formats as they are."""
    text = b"Software\0" + GENERATOR.encode()
    if data.startswith(b"\x89PNG"):
        part = len(text).to_bytes(4, "big") + b"tEXt" + text + zlib.crc32(b"tEXt" + text).to_bytes(4, "big")
        return data[:33] + part + data[33:]
    if data.startswith(b"\xff\xd8\xff\xe0"):
        end = 4 + int.from_bytes(data[4:6], "big")
        return data[:end] + b"\xff\xfe" + (len(text) + 2).to_bytes(2, "big") + text + data[end:]
    return data


def value_range(image: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """The grey values that stand for 0 and 1: 0 and 255 for uint8, else the image's 0.1 and 99.9 percentiles.

    16-bit and float images seldom fill their range. Where the percentiles coincide, the minimum and maximum are taken.
    Only pixels where `mask` is True count; the result is (0, 1) if there is no such pixel.
    """
    return (0.0, 255.0) if image.dtype == np.uint8 else percentile_range(image, mask)


def percentile_range(image: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> tuple[float, float]:
    """The 0.1 and 99.9 percentiles, as `value_range`, whatever the depth."""
    values = image.reshape(-1) if mask is None else image[mask]
    sample = values[:: max(1, values.size // MAX_SAMPLES)]
    if not len(values):
        return 0.0, 1.0
    low, high = (float(v) for v in np.percentile(sample, PERCENTILES))
    return (low, high) if high > low else (float(values.min()), float(values.max()))


def to_unit(image: NDArray[Any], limits: tuple[float, float]) -> NDArray[np.float32]:
    """Grey values mapped linearly, `limits` to 0 and 1, float32; values beyond the limits are kept, not clipped."""
    low, high = limits
    return (image.astype(np.float32) - np.float32(low)) * np.float32(1 / max(high - low, 1e-30))


def to_uint8(image: NDArray[Any], limits: tuple[float, float] | None = None) -> NDArray[np.uint8]:
    """An 8-bit version for detectors and for display, stretched by `limits`, or its `value_range`; uint8 as it is."""
    if image.dtype == np.uint8:
        return np.asarray(image, dtype=np.uint8)
    stretched = to_unit(image, limits or value_range(image)).clip(0, 1)
    return np.asarray(np.rint(stretched * 255), dtype=np.uint8)


def _as_stored(data: NDArray[np.uint8], header: Header, path: str | Path) -> NDArray[np.uint8]:
    """The bytes for OpenCV, which turns TIFFs by their orientation, and misreads some without an error."""
    tags = header.tiff
    if tags is None:
        return data
    if tags.dtype not in ("uint8", "uint16", "float32", "float64"):
        raise InputError(f"{path}: grey values are {tags.dtype or 'of no usual type'}: give uint8, uint16 or float32")
    if not tags.plain:
        if not tags.first:
            raise InputError(f"{path}: its first picture is a preview: save the image alone")
        apart = " stored apart" if tags.planar else ""
        raise InputError(f"{path}: has {tags.bands} bands{apart}: give a grey or a colour image, its bands interleaved")
    if tags.orientation_at is None:
        return data
    data = data.copy()
    data[tags.orientation_at : tags.orientation_at + 2] = [1, 0] if tags.little else [0, 1]
    return data
