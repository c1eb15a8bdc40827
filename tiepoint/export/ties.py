"""The tie points of a registration in every format that its images' georeferences allow, in one folder."""

from pathlib import Path

import numpy as np

from tiepoint.export.points import Side, write_csv, write_gcps, write_geojson
from tiepoint.files import discard
from tiepoint.registration.result import Registration

CSV, GCPS, GEOJSON = "tie_points.csv", "tie_points.points", "tie_points.geojson"


def write_ties(folder: Path, registration: Registration) -> list[str]:
    """Write tie_points.csv, and the formats that need a georeference of either image: tie_points.points, ground control
    points for QGIS; and if any lie on the Earth by its coordinate reference system tie_points.geojson. Of two
    georeferences that of b counts.

    Files of an earlier registration that this one does not have are removed. A refused one has none.

    The folder is made if missing; georeferences are those of `tiepoint.features.view.ViewInfo.geo`. Returns the names
    of the files. Raises InputError for what `tiepoint.export.points` refuses.
    """
    for name in (CSV, GCPS, GEOJSON):
        discard(folder / name)
    if not registration.accepted:
        return []
    write_csv(folder / CSV, registration)
    side: Side = "a" if registration.b.geo is None else "b"
    geo = registration.b.geo or registration.a.geo
    if geo is None:
        return [CSV]
    write_gcps(folder / GCPS, registration, geo, side)
    pixels = registration.tie_points[:, 2:] if side == "b" else registration.tie_points[:, :2]
    if not geo.crs or not np.isfinite(geo.to_lonlat(pixels)).any():  # a local system of a building site, say
        return [CSV, GCPS]
    write_geojson(folder / GEOJSON, registration, geo, side)
    return [CSV, GCPS, GEOJSON]
