"""TIFF and JPEG 2000 through rasterio: any number of bands, any depth, in windows, with georeference and masks."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError, reason
from tiepoint.images.geo import Geo, gdal, gdal_errors, import_rasterio, quiet
from tiepoint.images.header import Header, check_size
from tiepoint.images.window import Window
from tiepoint.names import in_utf8

MAX_BANDS = 4096  # a damaged header may claim 65535, and the default grey reads each
DRIVERS = {"tiff": "GTiff", "jp2": "JP2OpenJPEG"}
UNNAMED = ("undefined", "gray", "grey", "palette")  # colours that name no band


class GdalSource:
    """A `tiepoint.images.sources.BandSource` of a file that stays open.

    Bands are named by the file's descriptions, else by their colour, else by their number. Pages of one size and depth,
    one band each, are bands. A palette becomes the luma of its colours. Raises InputError without rasterio, and for a
    file that GDAL cannot read.
    """

    def __init__(self, path: str | Path, header: Header, max_pixels: int | None = None) -> None:
        self._rasterio = import_rasterio(f"{path}: a {'TIFF' if header.kind == 'tiff' else 'JPEG 2000'} of this kind")
        self.name = str(path)
        self._errors = gdal_errors(self._rasterio)
        self._datasets: list[Any] = []
        self._links = ExitStack()
        try:
            self._open(path, header)
            self._describe(max_pixels)
        except self._errors as error:
            self.close()
            raise InputError(f"{path}: cannot be read ({reason(error)}): copy it again or convert it") from None
        except BaseException:
            self.close()
            raise

    def read(
        self, bands: Sequence[int], window: Window, step: int = 1
    ) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """See `tiepoint.images.sources.BandSource`."""
        where = self._rasterio.windows.Window(window.x, window.y, window.width, window.height)
        size = (-(-window.height // step), -(-window.width // step))
        places, masks = [self._places[band] for band in bands], []
        try:
            with gdal(self._rasterio):
                values = np.stack([dataset.read(index, window=where, out_shape=size) for dataset, index in places])
                flags = [{flag.name for flag in dataset.mask_flag_enums[index - 1]} for dataset, index in places]
                if not all("all_valid" in names for names in flags):
                    masks = [dataset.read_masks(index, window=where, out_shape=size) > 0 for dataset, index in places]
        except self._errors as error:
            said = reason(error.__cause__ or error)
            raise InputError(f"{self.name}: is truncated or damaged ({said}): copy it again") from None
        if self._table is not None:
            values = self._table[values.clip(0, len(self._table) - 1)]
        return values, np.stack(masks) if masks else None

    def close(self) -> None:
        """Close the file."""
        for dataset in self._datasets:
            dataset.close()
        self._links.close()

    def _open(self, path: str | Path, header: Header) -> None:
        """Open the file, or its pages where they are bands."""
        with gdal(self._rasterio), quiet(self._rasterio):
            # Resolved, since rasterio takes what looks like an address for one.
            place = self._links.enter_context(in_utf8(Path(path).resolve()))
            first = self._rasterio.open(place, driver=DRIVERS[header.kind])
            self._datasets = [first]
            if first.count > 1 or header.tiff is None or header.tiff.pages < 2:
                return
            for page in first.subdatasets[: min(header.tiff.pages, MAX_BANDS)]:
                self._datasets.append(self._rasterio.open(page))
        pages = [p for p in self._datasets[1:] if (p.shape, p.dtypes, p.count) == (first.shape, first.dtypes, 1)]
        kept = pages if len(pages) > 1 else [first]
        for dataset in self._datasets:
            if not any(dataset is other for other in kept):
                dataset.close()
        self._datasets = kept

    def _describe(self, max_pixels: int | None) -> None:
        first = self._datasets[0]
        rows, columns = first.block_shapes[0]  # GDAL decodes no less than a block
        check_size(columns, rows, f"{self.name}: a block", max_pixels, ", or save it in tiles")
        if (count := first.count) > MAX_BANDS:
            raise InputError(f"{self.name}: claims {count} bands, more than {MAX_BANDS}: copy it again or divide it")
        self.shape: tuple[int, int] = first.shape
        kinds = [((d, i), kind.name) for d in self._datasets for i, kind in enumerate(d.colorinterp, 1)]
        self._places = [place for place, kind in kinds if kind != "alpha"]
        interpretations = [kind for _, kind in kinds if kind != "alpha"]
        if not self._places:
            raise InputError(f"{self.name}: holds an alpha channel alone: give an image with a band")
        names = [str(i) if kind in UNNAMED else kind for i, kind in enumerate(interpretations, 1)]
        texts = [dataset.descriptions[index - 1] for dataset, index in self._places]
        self.bands = tuple(text or name for text, name in zip(texts, names, strict=True))
        rgb = [interpretations.index(c) for c in ("red", "green", "blue") if c in interpretations]
        self.colours = (rgb[0], rgb[1], rgb[2]) if len(rgb) == 3 else None
        self.geo = self._geo(first)
        self._table = self._palette(first) if interpretations == ["palette"] else None

    def _geo(self, dataset: Any) -> Geo | None:
        """The georeference, or None without a transform. Ground control points alone do not count as a georeference."""
        if dataset.transform.is_identity:
            return None
        transform: Any = tuple(dataset.transform)[:6]
        with gdal(self._rasterio):
            return Geo(transform, dataset.crs.to_wkt(), dataset.crs.to_epsg()) if dataset.crs else Geo(transform)

    def _palette(self, dataset: Any) -> NDArray[np.uint8] | None:
        """Grey of each index of the palette; images of one bit have one too."""
        try:
            colours = dataset.colormap(1)
        except ValueError:
            return None
        table = np.zeros((max(colours) + 1, 1, 3), dtype=np.uint8)
        for index, colour in colours.items():
            table[index, 0] = colour[:3]
        return np.asarray(cv2.cvtColor(table, cv2.COLOR_RGB2GRAY)[:, 0], dtype=np.uint8)
