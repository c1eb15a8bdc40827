"""The tie points of a registration in every format that its images' georeferences allow, in one folder."""

from pathlib import Path

from tiepoint.export.points import Side, write_csv, write_gcps, write_geojson
from tiepoint.images.geo import Geo, gdal_errors, import_rasterio
from tiepoint.registration.result import Registration

CSV, GCPS, GEOJSON = "tie_points.csv", "tie_points.points", "tie_points.geojson"


def write_ties(folder: Path, registration: Registration) -> list[str]:
    """Write tie_points.csv, and the formats that need a georeference of either image: tie_points.points, ground control
    points for QGIS; and if its coordinate reference system lies on the Earth tie_points.geojson. Of two georeferences
    that of b counts.

    Files of an earlier registration that this one does not have are removed. A refused one has none.

    The folder is made if missing; georeferences are those of `tiepoint.features.view.ViewInfo.geo`. Returns the names
    of the files. Raises InputError for what `tiepoint.export.points` refuses.
    """
    for name in (CSV, GCPS, GEOJSON):
        (folder / name).unlink(missing_ok=True)
    if not registration.accepted:
        return []
    write_csv(folder / CSV, registration)
    side: Side = "a" if registration.b.geo is None else "b"
    geo = registration.b.geo or registration.a.geo
    if geo is None:
        return [CSV]
    write_gcps(folder / GCPS, registration, geo, side)
    if not _on_earth(geo):
        return [CSV, GCPS]
    write_geojson(folder / GEOJSON, registration, geo, side)
    return [CSV, GCPS, GEOJSON]


def _on_earth(geo: Geo) -> bool:
    """Whether there is a way to longitude and latitude: a local system of a building site has none."""
    if not geo.crs:
        return False
    try:
        geo.to_lonlat([[0, 0]])
    except gdal_errors(import_rasterio("a map projection")):
        return False
    return True
