"""Images that other libraries hold, as bands: numpy's arrays, masked ones, PIL's images, torch's tensors."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError, reason
from tiepoint.images.sources import ArraySource

RGB: tuple[str, ...] = ("red", "green", "blue")
GREY_MODES = ("1", "L", "I", "F")  # of PIL, and those that start with I;16


def as_source(image: Any, name: str, nodata: tuple[float, ...] = ()) -> ArraySource:
    """The bands of an image that is no file, (H, W) or (C, H, W) of real numbers, three of them being RGB.

    An image of PIL is taken as its pixels lie, a palette by its colours; what is transparent is not valid, nor what a
    masked array masks, band by band, nor what `nodata` holds. Tensors may need gradients, lie on any device and be of
    any dtype. Raises InputError for all else.
    """
    try:
        if type(image).__module__.split(".")[0] == "PIL" and hasattr(image, "mode"):
            return _of_pil(image, name, nodata)
        if hasattr(image, "detach"):
            image = image.detach()
            if image.is_floating_point() and image.element_size() < 4:
                image = image.float()  # numpy has no bfloat16
            image = image.numpy(force=True)
        array = image if isinstance(image, np.ma.MaskedArray) else np.asarray(image)
    except Exception as error:  # of any library
        raise InputError(
            f"{name}: is no array of pixels ({reason(error)}): give (H, W) or bands as (C, H, W)"
        ) from None
    planes = array[None] if array.ndim == 2 else array
    if planes.ndim != 3 or 0 in planes.shape or planes.shape[2] <= 4 < min(planes.shape[:2]):
        raise InputError(f"{name}: shape {array.shape}: give (H, W) or bands as (C, H, W)")
    mask = None
    if isinstance(planes, np.ma.MaskedArray):
        mask, planes = ~np.ma.getmaskarray(planes), planes.data
    return _source(name, planes, mask, nodata)


def _source(name: str, planes: NDArray[Any], mask: NDArray[np.bool_] | None, nodata: tuple[float, ...]) -> ArraySource:
    planes = planes.astype(planes.dtype.newbyteorder("="), copy=False)
    colour = len(planes) == 3
    bands = RGB if colour else tuple(str(i) for i in range(1, len(planes) + 1))
    return ArraySource(name, planes, bands, (0, 1, 2) if colour else None, mask, nodata)


def _of_pil(image: Any, name: str, nodata: tuple[float, ...]) -> ArraySource:
    transparent = image.info.get("transparency")
    if image.mode in GREY_MODES or image.mode.startswith("I;16"):
        held = (float(transparent),) if isinstance(transparent, int) else ()
        return _source(name, np.asarray(image)[None], None, nodata + held)
    if image.mode not in ("P", "PA", "LA", "La", "RGB", "RGBA", "RGBa"):
        image = image.convert("RGB")
    planes = np.asarray(image.convert("LA") if image.mode == "La" else image.convert("RGBA")).transpose(2, 0, 1)
    return _source(name, planes[:-1], planes[-1:] > 0, nodata)
