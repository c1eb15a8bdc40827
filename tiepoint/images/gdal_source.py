"""TIFF and JPEG 2000 through rasterio: any number of bands, any depth, in windows, with georeference and masks."""

import warnings
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
from tiepoint.images.sources import without_values
from tiepoint.images.tiff import PALETTE, WHITE, Tiff
from tiepoint.images.window import Window
from tiepoint.names import in_utf8
from tiepoint.types import Mask

MAX_BANDS = 4096  # a damaged header may claim 65535, and the default grey reads each
DRIVERS = {"tiff": "GTiff", "jp2": "JP2OpenJPEG"}
Place = tuple[Any, int]  # a dataset and the number of a band
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
        self.nodata: tuple[float, ...] = ()
        self._errors = gdal_errors(self._rasterio)
        self._datasets: list[Any] = []
        self._links = ExitStack()
        try:
            self._open(path, header)
            self._describe(max_pixels, header.tiff)
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
        places = [self._places[band] for band in bands]
        try:
            with gdal(self._rasterio):
                values = np.stack([dataset.read(index, window=where, out_shape=size) for dataset, index in places])
                valid = self._valid(places, values, where, size)
        except self._errors as error:
            said = reason(error.__cause__ or error)
            raise InputError(f"{self.name}: is truncated or damaged ({said}): copy it again") from None
        if self._table is not None:
            values = self._table[values.clip(0, len(self._table) - 1)]
        return values, valid

    def _valid(self, places: list[Place], values: NDArray[Any], where: Any, size: tuple[int, int]) -> Mask | None:
        """Where bands are valid: GDAL takes one of the file's mask, its nodata and its alpha, and all of them count."""
        flags = [{flag.name for flag in dataset.mask_flag_enums[index - 1]} for dataset, index in places]
        valid: Mask | None = None
        if not all("all_valid" in names for names in flags):
            with warnings.catch_warnings():  # that alpha is not looked at
                warnings.simplefilter("ignore", self._rasterio.errors.NodataShadowWarning)
                masks = [dataset.read_masks(index, window=where, out_shape=size) > 0 for dataset, index in places]
            valid = np.stack(masks)
        for row, ((dataset, index), names) in enumerate(zip(places, flags, strict=True)):
            others, nodata = [], dataset.nodatavals[index - 1]
            if "alpha" not in names and dataset in self._alphas:
                others.append(dataset.read(self._alphas[dataset], window=where, out_shape=size) > 0)
            if "nodata" not in names and nodata is not None:
                others.append(without_values(values[row], None, (nodata,)))
            for held in others:
                if held is not None and not held.all():
                    valid = np.ones(values.shape, dtype=bool) if valid is None else valid
                    valid[row] &= held
        return without_values(values, valid, self.nodata)

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
            tags = header.tiff
            if tags is not None and not tags.first:  # after a preview
                first.close()
                first = self._datasets[0] = self._rasterio.open(f"GTIFF_DIR:off:{tags.pages[0]}:{place}")
            if first.count > 1 or tags is None or len(tags.pages) < 2:
                return
            for at in tags.pages[:MAX_BANDS]:
                self._datasets.append(self._rasterio.open(f"GTIFF_DIR:off:{at}:{place}"))
        pages = [p for p in self._datasets[1:] if (p.shape, p.dtypes, p.count) == (first.shape, first.dtypes, 1)]
        kept = pages if len(pages) > 1 else [first]
        for dataset in self._datasets:
            if not any(dataset is other for other in kept):
                dataset.close()
        self._datasets = kept

    def _describe(self, max_pixels: int | None, tags: Tiff | None) -> None:
        first = self._datasets[0]
        rows, columns = first.block_shapes[0]  # GDAL decodes no less than a block, of all bands if they are interleaved
        held = np.dtype(first.dtypes[0]).itemsize if first.dtypes[0] in np.sctypeDict else 16
        held *= first.count if first.profile.get("interleave") == "pixel" else 1
        check_size(columns, rows, f"{self.name}: a block", max_pixels, ", or save it in tiles", held)
        if (count := first.count) > MAX_BANDS:
            raise InputError(f"{self.name}: claims {count} bands, more than {MAX_BANDS}: copy it again or divide it")
        self.shape: tuple[int, int] = first.shape
        kinds = [((d, i), kind.name) for d in self._datasets for i, kind in enumerate(d.colorinterp, 1)]
        self._places: list[Place] = [place for place, kind in kinds if kind != "alpha"]
        self._alphas = {dataset: index for (dataset, index), kind in kinds if kind == "alpha"}
        interpretations = [kind for _, kind in kinds if kind != "alpha"]
        if not self._places:
            raise InputError(f"{self.name}: holds an alpha channel alone: give an image with a band")
        names = [str(i) if kind in UNNAMED else kind for i, kind in enumerate(interpretations, 1)]
        texts = [dataset.descriptions[index - 1] for dataset, index in self._places]
        self.bands = tuple(text or name for text, name in zip(texts, names, strict=True))
        rgb = [interpretations.index(c) for c in ("red", "green", "blue") if c in interpretations]
        self.colours = (rgb[0], rgb[1], rgb[2]) if len(rgb) == 3 else None
        self.geo = self._geo(first)
        if tags is None or tags.photometric == PALETTE:
            self._table = self._palette(first) if interpretations == ["palette"] else None
        else:  # where white is 0 GDAL has a palette too, of 8 bits
            self._table = _greys(tags)

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


def _greys(tags: Tiff) -> NDArray[Any] | None:
    """The grey of each number that a TIFF stores: turned where 0 is white, and of less than 8 bits spread to 0..255."""
    white = tags.photometric == WHITE
    if not 1 <= tags.bits <= 16 or not (white or tags.bits < 8):
        return None
    levels = np.arange(2**tags.bits)[:: -1 if white else 1]
    if tags.bits < 8:
        return np.asarray(np.rint(levels * (255 / (len(levels) - 1))), dtype=np.uint8)
    return levels.astype(np.uint8 if tags.bits == 8 else np.uint16)
