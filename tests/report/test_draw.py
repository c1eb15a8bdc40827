"""Pictures of matches: what the colours say, how many lines there are, which pixels lie under them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_registration import asked, made
from PIL import Image

import tiepoint.report.draw as draw
from tiepoint.errors import InputError
from tiepoint.images.pixels import write_image
from tiepoint.images.raster import as_raster
from tiepoint.report.canvas import Entry, captioned
from tiepoint.report.draw import (
    AGREES,
    DIMMED,
    DISAGREES,
    GAP_PX,
    MAX_LINES,
    draw_agreement,
    draw_matches,
    draw_overlay,
    draw_registration,
)  # fmt: skip

Pair = tuple[np.ndarray, np.ndarray]
GREY = np.full((360, 480), 100, dtype=np.uint8)


def spread(count: int) -> np.ndarray:
    """Matches (count, 4) of points on a grid, 12 px apart, to the same place in b."""
    x, y = np.meshgrid(np.arange(10, 470, 12.0), np.arange(10, 350, 12.0))
    points = np.column_stack([x.ravel(), y.ravel()])[:count]
    assert len(points) == count
    return np.hstack([points, points])


def dots(picture: np.ndarray, points: np.ndarray, colour: tuple[int, int, int]) -> int:
    """How many of the points in image a are drawn in this colour."""
    x, y = points[:, :2].astype(int).T
    return int((np.abs(picture[y, x].astype(int) - colour).max(axis=1) <= 1).sum())


def texts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Titles and legends of the pictures drawn from here on."""
    said: list[str] = []

    def spy(picture: np.ndarray, title: str, legend: list[Entry]) -> np.ndarray:
        said.extend([title, *(entry.text for entry in legend)])
        return captioned(picture, title, legend)

    monkeypatch.setattr(draw, "captioned", spy)
    return said


def test_colours_say_what_agrees() -> None:
    points, agrees = spread(40), np.arange(40) % 4 != 0
    picture = draw_matches(GREY, GREY, points, agrees, title="")
    assert dots(picture, points[agrees], AGREES) == 30
    assert dots(picture, points[~agrees], DISAGREES) == 10
    assert dots(draw_matches(GREY, GREY, points, title=""), points, AGREES) == 40


def test_colours_are_told_apart_by_the_colour_blind() -> None:
    """Without red or green cones (Machado and others 2009, severity 1.0) blue and orange stay far apart."""
    blind = {
        "protan": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
        "deutan": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    }
    linear = (np.array([AGREES, DISAGREES]) / 255.0) ** 2.2
    for matrix in blind.values():
        seen = 255 * (linear @ np.array(matrix).T).clip(0, 1) ** (1 / 2.2)
        assert np.linalg.norm(seen[0] - seen[1]) > 100


def test_the_sample_keeps_the_proportion(monkeypatch: pytest.MonkeyPatch) -> None:
    said, points = texts(monkeypatch), spread(1000)
    agrees = np.zeros(1000, dtype=bool)
    agrees[np.random.default_rng(0).permutation(1000)[:650]] = True
    picture = draw_matches(GREY, GREY, points, agrees, title="")
    drawn = dots(picture, points[agrees], AGREES), dots(picture, points[~agrees], DISAGREES)
    assert sum(drawn) == MAX_LINES
    assert drawn[0] == pytest.approx(0.65 * MAX_LINES, abs=1)
    assert said[-1] == "200 of 1,000 are drawn, each kind in its proportion"
    assert said[1].startswith("650 tie points")
    assert said[2].startswith("350 other matches")


def test_lines_let_the_image_through() -> None:
    points = np.array([[100.0, 200.0, 300.0, 200.0]])
    picture = draw_matches(GREY, GREY, points, title="").astype(float)
    under = round(DIMMED * 100)
    line, beside = picture[200, 250], picture[190, 250]
    assert (beside == under).all()
    share = (line - under) / (np.array(AGREES) - under)
    assert (share > 0.4).all()
    assert (share < 0.65).all()


def test_a_value_shades_its_line(monkeypatch: pytest.MonkeyPatch) -> None:
    said, points = texts(monkeypatch), spread(4)
    picture = draw_matches(GREY, GREY, points, values=[0.5, 0.75, 1.0, np.nan], title="").astype(int)
    seen = [picture[int(y), int(x)] for x, y in points[:, :2]]
    distances = [int(np.abs(colour - AGREES).max()) for colour in seen]
    assert distances[0] > distances[1] > distances[2] == distances[3] == 0
    assert said[-1] == "match probability 0.50 to 1.00, the fuller the higher"


def test_a_title_and_a_legend_frame_the_images() -> None:
    points, agrees = spread(10), np.arange(10) < 7
    plain = draw_matches(GREY, GREY, points, agrees, title="")
    titled = draw_matches(GREY, GREY, points, agrees, title="Registered")
    above = len(titled) - len(plain)
    assert above > 20
    assert (titled[:above].min(axis=2) < 80).sum() > 50  # ink
    np.testing.assert_array_equal(titled[above:], plain)
    for colour in (AGREES, DISAGREES):
        assert (plain[360:] == colour).all(axis=2).sum() > 100
    assert (plain[-1] == 255).all()
    wrapped = draw_matches(GREY, GREY, points, agrees, title="a reason that is long " * 12)
    assert len(wrapped) - len(plain) > 2 * above


def test_a_registration_says_its_verdict(monkeypatch: pytest.MonkeyPatch, pair: Pair, truth: np.ndarray) -> None:
    said, found = texts(monkeypatch), made(truth)
    picture = draw_registration(*pair, found)
    assert said[0].startswith("Registered by homography: 60 tie points of 75 correspondences, rms 1.")
    assert said[0].endswith("confidence 0.83")
    assert (picture == DISAGREES).all(axis=2).any()
    del said[:]
    picture = draw_registration(*pair, made(None))
    assert said == ["Not registered: too few inliers (75 correspondences)", "75 matches"]
    assert not (picture == DISAGREES).all(axis=2).any()


def test_turned_photographs_and_six_bands_are_drawn_as_they_were_matched(pair: Pair, tmp_path: Path) -> None:
    import tifffile

    stored = Image.fromarray(np.ascontiguousarray(np.rot90(pair[0])))
    stored.getexif()[274] = 6
    stored.save(tmp_path / "turned.jpg", exif=stored.getexif(), quality=95)
    planes = np.random.default_rng(0).integers(0, 60_000, (6, 360, 480)).astype(np.uint16)
    tifffile.imwrite(tmp_path / "six.tif", planes, photometric="minisblack", planarconfig="separate")
    for name in ("turned.jpg", "six.tif"):
        picture = draw_matches(tmp_path / name, pair[1], np.empty((0, 4)), title="")
        expected = np.rint(DIMMED * as_raster(tmp_path / name).to_uint8())
        assert expected.shape == (360, 480)
        np.testing.assert_array_equal(picture[:360, :480, 0], expected)
        np.testing.assert_array_equal(picture[:360, 480 + GAP_PX :, 2], np.rint(DIMMED * pair[1]))


@pytest.mark.parametrize(("shape", "other"), [((40, 60), (80, 50)), ((3000, 5000), (500, 500)), ((4000, 100), (1, 9))])
def test_any_size_makes_a_picture_of_a_usual_one(shape: tuple[int, int], other: tuple[int, int]) -> None:
    a, b = (np.full(size, 100, dtype=np.uint8) for size in (shape, other))
    points = np.array([[shape[1] * 0.5 - 0.5, shape[0] * 0.25 - 0.5, 0, 0]])
    picture = draw_matches(a, b, points, title="")
    assert picture.shape[1] <= 2400 + GAP_PX + 2
    assert picture.shape[0] <= 2000
    height = np.flatnonzero((picture[:, 0] == 255).all(axis=1))[0]  # where the legend begins
    wide = height * shape[1] / shape[0]
    y, x = np.argwhere((picture[:height, : round(0.7 * wide)] == AGREES).all(axis=2)).mean(axis=0)
    assert y == pytest.approx(height / 4 - 0.5, abs=1.5)
    assert x == pytest.approx(wide / 2 - 0.5, abs=1.5)


def test_other_lengths_are_refused() -> None:
    with pytest.raises(InputError, match="4 matches have 3 verdicts and 4 values: give one for each match"):
        draw_matches(GREY, GREY, spread(4), np.ones(3, dtype=bool))
    with pytest.raises(InputError, match="4 matches have 4 verdicts and 5 values"):
        draw_matches(GREY, GREY, spread(4), values=np.ones(5))


def test_an_overlay_explains_its_colours(monkeypatch: pytest.MonkeyPatch, pair: Pair, truth: np.ndarray) -> None:
    said = texts(monkeypatch)
    picture = draw_overlay(*pair, truth)
    inner = picture[80:280, 100:380].astype(int)
    assert np.abs(inner[..., 0] - inner[..., 1]).mean() < 5
    assert said == ["", "brighter in image A", "brighter in image B", "alike in both"]
    assert draw_overlay(*pair, truth, title="Registered").shape[0] > picture.shape[0] > 360


def test_overlays_of_any_size_hold_their_legend(tmp_path: Path) -> None:
    for side, expected in ((30, 420), (5000, 1800)):
        image = np.zeros((side, side), dtype=np.uint8)
        picture = draw_overlay(image, image, np.eye(3))
        assert picture.shape[1] == expected
    write_image(tmp_path / "overlay.png", picture)
    np.testing.assert_array_equal(cv2.imread(str(tmp_path / "overlay.png"))[:, :, ::-1], picture)


def test_tiles_say_where_windows_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """The picture is 2 times as large as the image, so tiles are 48 px wide, the first around 200.5."""
    said = texts(monkeypatch)
    image = np.full((300, 450), 100, dtype=np.uint8)
    found = replace(made(None), agreement=asked())
    picture = draw_agreement(image, found)
    assert said == [
        "Not registered: too few inliers (75 correspondences)", "12 windows of A recognise their place in B",
        "3 take another place of B for theirs", "similarity 0.10 to 0.90, the fuller the higher",
    ]  # fmt: skip
    above = int(np.flatnonzero((picture[:, -1] == 90).all(axis=1))[0])
    drawn = picture[above : above + 600].astype(int)
    assert drawn.shape == (600, 900, 3)
    bare = (drawn == 90).all(axis=2)
    y, x = np.nonzero(~bare)
    assert (x.min(), x.max(), y.min(), y.max()) == (177, 177 + 5 * 48 - 3, 177, 177 + 3 * 48 - 3)
    assert bare[177:320, 223].all()  # between two columns
    right, wrong = drawn[200, 250], drawn[200, 200]
    assert right[2] > 95 > right[0]
    assert wrong[0] > 95 > wrong[2]
    faint, full = (np.abs(drawn[y, 250] - 90).max() for y in (200, 300))
    assert 2 * faint < full


def test_tiles_are_as_strong_in_every_picture() -> None:
    found, image = asked(), np.full((300, 450), 100, dtype=np.uint8)
    several = replace(found, similarity=np.where(np.arange(15) == 14, 1.0, found.similarity))
    one, other = (draw_agreement(image, replace(made(None), agreement=each)) for each in (found, several))
    corner = -1, slice(100, 400), slice(100, 360)
    np.testing.assert_array_equal(one[corner[1:]], other[corner[1:]])


@pytest.mark.parametrize(("shape", "expected"), [((100, 90), 900), ((2400, 400), 300), ((1000, 6000), 1800)])
def test_agreement_of_any_size(shape: tuple[int, int], expected: int) -> None:
    image = np.zeros(shape, dtype=np.uint8)
    picture = draw_agreement(image, replace(made(None), agreement=asked(1, 1)))
    assert picture.shape[1] == expected
    assert picture.shape[0] <= 2000


def test_without_windows_there_is_no_agreement_to_draw(truth: np.ndarray) -> None:
    with pytest.raises(InputError, match="no windows were asked"):
        draw_agreement(GREY, made(truth))
