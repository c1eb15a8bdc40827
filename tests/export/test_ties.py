"""The tie points of a registration in the formats that its georeferences allow."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

from tiepoint.export.ties import CSV, GCPS, GEOJSON, write_ties
from tiepoint.images.geo import Geo

POINTS = np.array([[10.25, 20.5, 110, 220], [0, 0, 100, 200], [30, 5, 131.5, 204]])
DEGREES = Geo((0.001, 0.0, 15.0, 0.0, -0.001, 50.0), "EPSG:4326", 4326)
BARE = replace(DEGREES, crs="", epsg=None)
SITE = Geo((1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 'LOCAL_CS["site",UNIT["metre",1]]')


@dataclass
class Image:
    geo: Geo | None = None


@dataclass
class Found:
    """What is used of a Registration."""

    a: Image
    b: Image
    accepted: bool = True
    tie_points: np.ndarray = field(default_factory=POINTS.copy)
    residuals: np.ndarray = field(default_factory=lambda: np.array([0.5, 0.25, 1.0]))
    probabilities: np.ndarray | None = None


def written(folder: Path, a: Geo | None, b: Geo | None, accepted: bool = True) -> list[str]:
    names = write_ties(folder, Found(Image(a), Image(b), accepted))  # type: ignore[arg-type]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    return names


@pytest.mark.parametrize(
    ("a", "b", "names"),
    [
        (None, None, [CSV]),
        (None, BARE, [CSV, GCPS]),
        (BARE, None, [CSV, GCPS]),
        (None, DEGREES, [CSV, GCPS, GEOJSON]),
        (DEGREES, None, [CSV, GCPS, GEOJSON]),
        (None, SITE, [CSV, GCPS]),
    ],
)
def test_a_georeference_adds_its_formats(tmp_path: Path, a: Geo | None, b: Geo | None, names: list[str]) -> None:
    if b is SITE or DEGREES in (a, b):
        pytest.importorskip("rasterio")
    assert written(tmp_path, a, b) == names
    assert (tmp_path / CSV).read_text(encoding="utf-8").count("\n") == 4


def test_the_georeference_of_either_image_places_the_points(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    places = {}
    for name, pair in {"b": (None, DEGREES), "a": (DEGREES, None), "both": (BARE, DEGREES)}.items():
        (tmp_path / name).mkdir()
        written(tmp_path / name, *pair)
        features = json.loads((tmp_path / name / GEOJSON).read_text(encoding="utf-8"))["features"]
        places[name] = features[1]["geometry"]["coordinates"]
    np.testing.assert_allclose(places["b"], [15.1005, 49.7995])  # the centre of pixel (100, 200)
    np.testing.assert_allclose(places["a"], [15.0005, 49.9995])
    assert places["both"] == places["b"]


def test_files_of_an_earlier_registration_are_removed(tmp_path: Path) -> None:
    pytest.importorskip("rasterio")
    assert written(tmp_path, None, DEGREES) == [CSV, GCPS, GEOJSON]
    assert written(tmp_path, None, None) == [CSV]
    assert written(tmp_path, None, DEGREES, accepted=False) == []
