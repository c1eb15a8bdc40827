"""The raw files of cameras, developed by rawpy where it is installed (the extra `raw`)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError, reason
from tiepoint.images.header import check_size, opened

ORIENTATIONS = {3: 3, 5: 8, 6: 6}  # EXIF's numbers of LibRaw's


def develop(path: str | Path, max_pixels: int | None = None) -> tuple[NDArray[np.uint16], int]:
    """The image (H, W, 3) of a raw file, RGB, as the sensor lies, and its EXIF orientation.

    It has 16 bits, the camera's white balance, and the brightness that was recorded. Raises InputError without rawpy,
    and for a file that LibRaw cannot read, of which a preview alone would be left.
    """
    try:
        import rawpy
    except ImportError:
        remedy = "pip install 'tiepoint[raw]', or develop it to a TIFF"
        raise InputError(f"{path}: is a camera's raw file, which needs rawpy: {remedy}") from None
    try:
        with opened(path) as file, rawpy.imread(file) as raw:
            sizes: Any = raw.sizes
            check_size(sizes.width, sizes.height, path, max_pixels)
            pixels = raw.postprocess(user_flip=0, output_bps=16, no_auto_bright=True, use_camera_wb=True)
            return np.asarray(pixels, dtype=np.uint16), ORIENTATIONS.get(sizes.flip, 1)
    except rawpy.LibRawError as error:
        said = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else reason(error)
        raise InputError(f"{path}: is a camera's raw file that LibRaw cannot read ({said}): convert it") from None
