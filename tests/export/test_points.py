"""Tie points as CSV, QGIS control points and GeoJSON."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tiepoint.errors import InputError
from tiepoint.export.points import write_csv, write_gcps, write_geojson
from tiepoint.images.geo import Geo

POINTS = np.array([[10.25, 20.5, 110, 220], [0, 0, 100, 200], [30, 5, 131.5, 204]])
# A pixel is 10 m, the top-left corner lies at (500000, 4600000); rows go south.
UTM = Geo((10.0, 0.0, 500_000.0, 0.0, -10.0, 4_600_000.0), "EPSG:32633", 32633)
DEGREES = Geo((0.001, 0.0, 15.0, 0.0, -0.001, 50.0), "EPSG:4326", 4326)


@dataclass
class Found:
    """What is used of a Registration."""

    tie_points: np.ndarray
    residuals: np.ndarray
    probabilities: np.ndarray | None = None


FOUND = Found(POINTS, np.array([0.5, 0.25, 1.0]))
REFUSED = Found(np.empty((0, 4)), np.empty(0))


def read(path: Path) -> list[dict[str, str]]:
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    return list(csv.DictReader(lines))


def test_csv_holds_pixels_residuals_and_probabilities_if_there_are(tmp_path: Path) -> None:
    write_csv(tmp_path / "t.csv", FOUND)
    rows = read(tmp_path / "t.csv")
    assert list(rows[0]) == ["xa", "ya", "xb", "yb", "residual"]
    np.testing.assert_allclose([[float(v) for v in row.values()] for row in rows], np.c_[POINTS, FOUND.residuals])
    write_csv(tmp_path / "p.csv", replace(FOUND, probabilities=np.array([0.9, 0.75, 0.999999])))
    assert [row["probability"] for row in read(tmp_path / "p.csv")] == ["0.900000", "0.750000", "0.999999"]
    write_csv(tmp_path / "none.csv", REFUSED)
    assert (tmp_path / "none.csv").read_text(encoding="utf-8") == "xa,ya,xb,yb,residual\n"


def test_gcps_follow_qgis(tmp_path: Path) -> None:
    write_gcps(tmp_path / "t.points", FOUND, UTM)
    lines = (tmp_path / "t.points").read_text(encoding="utf-8").splitlines()
    assert lines[:2] == ["#CRS: EPSG:32633", "mapX,mapY,sourceX,sourceY,enable,dX,dY,residual"]
    rows = read(tmp_path / "t.points")
    # The centre of pixel (100, 200) of b; the centre of the top-left pixel of a, counted upwards from its corner.
    assert (float(rows[1]["mapX"]), float(rows[1]["mapY"])) == (501_005, 4_597_995)
    assert (float(rows[1]["sourceX"]), float(rows[1]["sourceY"])) == (0.5, -0.5)
    assert {row["enable"] for row in rows} == {"1"}


def test_gcps_of_the_other_side_and_without_georeference(tmp_path: Path) -> None:
    write_gcps(tmp_path / "a.points", FOUND, UTM, of="a")
    row = read(tmp_path / "a.points")[1]
    assert (float(row["mapX"]), float(row["sourceX"]), float(row["sourceY"])) == (500_005, 100.5, -200.5)
    write_gcps(tmp_path / "pixels.points", FOUND)
    assert not (tmp_path / "pixels.points").read_text(encoding="utf-8").startswith("#")
    row = read(tmp_path / "pixels.points")[0]
    assert [float(row[k]) for k in ("mapX", "mapY", "sourceX", "sourceY")] == [110.5, -220.5, 10.75, -21]


def test_gcps_place_the_image_as_gdal_does(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    from rasterio.control import GroundControlPoint
    from rasterio.transform import from_gcps

    write_gcps(tmp_path / "t.points", FOUND, UTM)
    gcps = [
        GroundControlPoint(-float(r["sourceY"]), float(r["sourceX"]), float(r["mapX"]), float(r["mapY"]))
        for r in read(tmp_path / "t.points")
    ]
    placed = from_gcps(gcps)
    assert isinstance(placed, rasterio.Affine)
    for (xa, ya), place in zip(POINTS[:, :2], UTM.to_map(POINTS[:, 2:]), strict=True):
        np.testing.assert_allclose(placed @ (xa + 0.5, ya + 0.5), place, atol=1e-3)


def test_geojson_in_degrees_needs_no_projection(tmp_path: Path) -> None:
    write_geojson(tmp_path / "t.geojson", FOUND, DEGREES)
    collection = json.loads((tmp_path / "t.geojson").read_text(encoding="utf-8"))
    assert collection["type"] == "FeatureCollection"
    feature = collection["features"][1]
    assert feature["geometry"] == {"type": "Point", "coordinates": [15.1005, 49.7995]}
    assert feature["properties"] == {"xa": 0, "ya": 0, "xb": 100, "yb": 200, "residual": 0.25}


def test_geojson_is_projected_to_longitude_and_latitude(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    write_geojson(tmp_path / "t.geojson", FOUND, UTM, of="a")
    place = json.loads((tmp_path / "t.geojson").read_text(encoding="utf-8"))["features"][1]["geometry"]["coordinates"]
    # 500 km east is the zone's central meridian, 15 degrees; 4600 km north is a latitude of 41.55 degrees.
    np.testing.assert_allclose(place, [15, 41.55], atol=0.01)


def test_geojson_leaves_out_what_lies_off_the_earth(tmp_path: Path) -> None:
    rasterio = pytest.importorskip("rasterio")
    disk = rasterio.crs.CRS.from_string("+proj=geos +h=35786023 +lon_0=-75 +sweep=x +ellps=GRS80").to_wkt()
    geo = Geo((2e5, 0, 0, 0, -2e5, 0), disk)
    pixels = np.array([[0, 0], [1e5, 0], [100, 200], [np.nan, 0], [1e300, 0], [1, 1]])
    np.testing.assert_array_equal(np.isfinite(geo.to_lonlat(pixels)).all(axis=1), [True, *[False] * 4, True])
    write_geojson(tmp_path / "t.geojson", FOUND, geo, of="a")
    features = json.loads((tmp_path / "t.geojson").read_text(encoding="utf-8"))["features"]
    assert [feature["properties"]["xa"] for feature in features] == [10.25, 0]  # 30 pixels east there is space
    with pytest.raises(InputError, match="no longitude and latitude"):
        write_geojson(tmp_path / "t.geojson", FOUND, replace(geo, transform=(0, 0, 1e8, 0, 0, 0)))


@pytest.mark.parametrize("write", [write_gcps, write_geojson])
def test_a_refused_registration_gives_no_points(write: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="refused and has no tie points"):
        write(tmp_path / "x", REFUSED, DEGREES)  # type: ignore[operator]
    assert list(tmp_path.iterdir()) == []


def test_geojson_needs_a_reference_system(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="coordinate reference system"):
        write_geojson(tmp_path / "x", FOUND, replace(UTM, crs="", epsg=None))
