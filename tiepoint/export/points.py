"""Tie points as CSV, as ground control points for QGIS, and as GeoJSON."""

import io
import json
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.files import write_text
from tiepoint.images.geo import LONGITUDE_LATITUDE, Geo
from tiepoint.registration.result import Registration

Side = Literal["a", "b"]
COLUMNS = ("xa", "ya", "xb", "yb", "residual")
GCP_HEADER = "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"


def table(registration: Registration) -> tuple[list[str], NDArray[np.float64]]:
    """Names of the columns, and a row a tie point: xa, ya, xb, yb in pixels with centres at integers, residual in
    pixels of b, and probability where the registration has one.
    """
    columns = [registration.tie_points, registration.residuals]
    if registration.probabilities is None:
        return list(COLUMNS), np.column_stack(columns).astype(np.float64)
    return [*COLUMNS, "probability"], np.column_stack([*columns, registration.probabilities]).astype(np.float64)


def write_csv(path: str | Path, registration: Registration) -> None:
    """Write `table` as CSV with a header line; a refused registration gives the header alone."""
    names, rows = table(registration)
    text = io.StringIO()
    np.savetxt(text, rows, fmt=["%.4f"] * 5 + ["%.6f"] * (len(names) - 5), delimiter=",")
    write_text(path, ",".join(names) + "\n" + text.getvalue())


def write_gcps(path: str | Path, registration: Registration, geo: Geo | None = None, of: Side = "b") -> None:
    """Write ground control points for QGIS's georeferencer (.points): they place the image without georeference.

    Convention: QGIS counts from the corner of the top-left pixel, and y of the source grows upwards, so a pixel (x, y)
    is (x + 0.5, -y - 0.5).

    `geo` is the georeference of image `of`, and the other image the source; without it the map is the other image's own
    pixels, in the same convention. Raises InputError for a refused registration, which has no tie points.
    """
    _, rows = table(registration)
    _refuse_none(path, rows)
    target, source = (rows[:, 2:4], rows[:, :2]) if of == "b" else (rows[:, :2], rows[:, 2:4])
    places = _corner_upwards(target) if geo is None else geo.to_map(target)
    lines = [*([f"#CRS: {' '.join(geo.crs.split())}"] if geo is not None and geo.crs else []), GCP_HEADER]
    # dX, dY and residual are QGIS's to compute, from the transform that its user chooses.
    for place, pixel in zip(places.tolist(), _corner_upwards(source).tolist(), strict=True):
        lines.append(",".join(f"{v:.10g}" for v in place) + "," + ",".join(f"{v:.4f}" for v in pixel) + ",1,0,0,0")
    write_text(path, "\n".join(lines) + "\n")


def write_geojson(path: str | Path, registration: Registration, geo: Geo, of: Side = "b") -> None:
    """Write tie points as GeoJSON (RFC 7946): a point each in longitude and latitude, WGS 84, with `table`'s columns.

    Those that lie off the Earth, as in the corners of a satellite's view of all of it, are left out.

    `registration` is accepted, `geo` the georeference of image `of`; other systems than EPSG:4326 need rasterio (extra
    `geo`). Raises InputError for no tie points, a georeference without a system, tie points none of which
    lies on the Earth, rasterio that is missing.
    """
    names, rows = table(registration)
    _refuse_none(path, rows)
    pixels = rows[:, 2:4] if of == "b" else rows[:, :2]
    places = geo.to_map(pixels) if f"EPSG:{geo.epsg}" == LONGITUDE_LATITUDE else geo.to_lonlat(pixels)
    if not (known := np.isfinite(places).all(axis=1)).any():
        raise InputError(f"{path}: tie points have no longitude and latitude: check the georeference of image {of}")
    features = [
        {
            "type": "Feature",
            "geometry": {"type": "Point", "coordinates": [round(v, 9) for v in place]},
            "properties": {name: round(value, 6) for name, value in zip(names, row, strict=True)},
        }
        for place, row in zip(places[known].tolist(), rows[known].tolist(), strict=True)
    ]
    write_text(path, json.dumps({"type": "FeatureCollection", "features": features}, allow_nan=False) + "\n")


def _corner_upwards(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return (points + 0.5) * [1, -1]


def _refuse_none(path: str | Path, rows: NDArray[np.float64]) -> None:
    if not len(rows):
        raise InputError(f"{path}: the registration was refused and has no tie points: nothing to write")
