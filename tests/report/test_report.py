from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from made_registration import Page, asked, made

from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.features.extract import extract
from tiepoint.features.frames import compose
from tiepoint.registration.overlay import outline, reduced, warped
from tiepoint.registration.result import Registration
from tiepoint.report import write_report
from tiepoint.report.draw import AGREES, DISAGREES, PLANE_KINDS
from tiepoint.report.payload import coverage, json_script, sprite
from tiepoint.version import __version__

Pair = tuple[np.ndarray, np.ndarray]
Texture = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def found(truth: np.ndarray) -> Registration:
    return made(truth)


@pytest.fixture(scope="module")
def page(found: Registration, pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Page:
    return written(tmp_path_factory.mktemp("page"), found, *pair)


def written(folder: Path, found: Registration, a: np.ndarray, b: np.ndarray, **options: object) -> Page:
    write_report(found, a, b, folder / "out.html", **options)  # type: ignore[arg-type]
    return Page((folder / "out.html").read_text(encoding="utf-8"))


def test_the_page_is_whole_and_needs_no_other(page: Page) -> None:
    assert page.tags[0] == ("html", {"lang": "en"})
    assert ("meta", {"charset": "utf-8"}) in page.tags
    names = page.values("id")
    assert len(set(names)) == len(names)
    labelled = page.values("for") + page.values("aria-labelledby") + [v[1:] for v in page.values("href") if v[0] == "#"]
    assert set(labelled) <= set(names)
    assert [tag for tag, _ in page.tags].count("h1") == 1
    for address in page.values("src") + page.values("href"):
        assert address.startswith(("data:", "#"))
    assert not {"iframe", "object", "form", "a"} & {tag for tag, _ in page.tags}
    assert all("alt" in attributes for tag, attributes in page.tags if tag == "img")


def test_scripts_and_styles_fetch_nothing(found: Registration, pair: Pair, tmp_path: Path) -> None:
    write_report(found, *pair, tmp_path / "out.html")
    text = (tmp_path / "out.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    addresses = set(re.findall(r"(?:https?|file|wss?)://[^\"'\s]*", text))
    assert addresses == {"http://www.w3.org/2000/svg"}  # the name of SVG, nothing that is fetched
    assert not re.search(r"@import|fetch\(|XMLHttpRequest|\beval\(|innerHTML", text)
    policy = Page(text).tags
    assert any(str(tag[1].get("content", "")).startswith("default-src 'none'; img-src data:;") for tag in policy)


def test_the_data_are_the_registration(page: Page, found: Registration, truth: np.ndarray) -> None:
    assert page.data["registration"] == json.loads(json.dumps(found.to_json()))
    assert page.data["a"] == {"name": "image a", "width": 480, "height": 360}
    shown = page.data["shown"]
    assert sorted(shown["rows"]) == list(range(60))
    np.testing.assert_allclose(shown["points"], found.tie_points[shown["rows"]], atol=1e-4)
    np.testing.assert_allclose(shown["residuals"], found.residuals[shown["rows"]], atol=1e-4)
    assert shown["residuals"] == sorted(shown["residuals"], reverse=True)
    np.testing.assert_allclose(shown["similarities"], found.scores[found.inliers][shown["rows"]], atol=1e-4)
    vectors = np.array(shown["points"])[:, 2:] - shown["mapped"]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), shown["residuals"], atol=1e-3)
    mapped = cv2.perspectiveTransform(np.array(shown["points"])[None, :, :2], truth)[0]
    np.testing.assert_allclose(shown["mapped"], mapped, atol=1e-3)
    np.testing.assert_allclose(page.data["rejected"], found.points[~found.inliers], atol=1e-4)
    assert shown["probabilities"] is None


def test_the_heading_says_the_verdict_and_the_numbers(page: Page, found: Registration) -> None:
    assert page.texts["verdict"] == "Registered"
    assert "image a to image b" in page.text
    assert found.rms is not None
    for words in ("Confidence 0.83", "Tie points 60 of 75 correspondences", f"rms {found.rms:.2f} px", "480 × 360 px"):
        assert words in page.text
    assert "tie points are drawn" not in page.text
    matrix = np.array([line.split() for line in page.texts["matrix"].splitlines()], dtype=np.float64)
    np.testing.assert_allclose(matrix, found.matrix, rtol=1e-5)


def test_the_pictures_are_the_images(page: Page, found: Registration, pair: Pair) -> None:
    a, b = pair
    np.testing.assert_array_equal(page.picture("picture-a"), a)
    np.testing.assert_array_equal(page.picture("picture-b"), b)
    moved = page.picture("picture-moved")
    covered = cv2.warpPerspective(np.ones_like(a), found.matrix, (480, 360)) > 0
    covered = cv2.erode(covered.astype(np.uint8), np.ones((9, 9))) > 0
    assert np.abs(moved.astype(int) - b)[covered].mean() < 3
    sheet, points = page.picture("patches"), np.array(page.data["shown"]["points"])
    for k in (0, 7, 59):
        top, left = 64 * (k // 20), 128 * (k % 20)
        for image, side in ((a, 0), (b, 1)):
            frame = compose(points[k : k + 1, 2 * side : 2 * side + 2], [1.0], [0.0])
            expected = extract(image, frame, size=64, support=64.0)[0, 0].astype(int)
            patch = sheet[top : top + 64, left + 64 * side : left + 64 * side + 64]
            assert np.abs(patch - expected).max() <= 2  # OpenCV rounds a sample's place to 1/32 px in one of them


@pytest.mark.parametrize("zoom", [0.6, 6.0])
def test_reduced_images_lie_where_the_transform_puts_them(texture: Texture, zoom: float) -> None:
    """Image a, itself reduced or not, lies over the reduced b without a shift."""
    a = cv2.resize(texture(3, 700, 500), (round(1260 / zoom), round(900 / zoom)), interpolation=cv2.INTER_AREA)
    matrix = np.array([[zoom, -0.17 * zoom, 250.0], [0.17 * zoom, zoom, -60.0], [3e-5, -2e-5, 1.0]])
    b = cv2.warpPerspective(a, matrix, (1800, 900))
    small, moved = reduced(b, 300), warped(a, matrix, (1800, 900), (300, 150))
    assert small.shape == moved.shape == (150, 300)
    covered = cv2.erode(cv2.warpPerspective(np.ones_like(a), matrix, (1800, 900)), np.ones((31, 31)))
    inside = cv2.resize(covered, (300, 150), interpolation=cv2.INTER_NEAREST) > 0
    assert np.abs(small.astype(int) - moved)[inside].mean() < 6  # a bilinear sample is softer than an area's mean
    both = [np.where(inside, image - image[inside].mean(), 0) for image in (small, moved)]
    shift = cv2.phaseCorrelate(*both, cv2.createHanningWindow((300, 150), cv2.CV_64F))[0]
    assert np.hypot(*shift) < 0.03  # 0.5 and 0.08 if the grids' half pixels were left out


def test_the_outline_and_the_coverage_are_exact() -> None:
    shift = np.array([[1, 0, 100.0], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(outline(shift, (40, 20)), [[99.5, -0.5], [139.5, -0.5], [139.5, 19.5], [99.5, 19.5]])
    found = made(shift, size=(200, 100), count=4, outliers=0)
    corners = np.array([[10, 10], [60, 10], [60, 60], [10, 60.0]])
    found.points[:] = np.hstack([corners, corners + np.array([100, 0])])
    assert coverage(found) == pytest.approx(50 * 50 / (100 * 100))
    found.points[:, 2] += 500  # out of the image
    assert coverage(found) == 0.0
    assert coverage(made(None)) is None


def test_text_is_escaped(found: Registration, pair: Pair, tmp_path: Path) -> None:
    folder = tmp_path / "<i>"
    folder.mkdir()
    a = folder / "<b>a&'\".png"
    cv2.imwrite(str(a), pair[0])
    nasty = made(None, reasons=("</script><u>no</u> & so on",), name="</script><u>")
    for registration, title in ((nasty, None), (nasty, "<u>title</u>"), (found, None)):
        page = written(tmp_path, registration, a, pair[1], title=title)  # type: ignore[arg-type]
        assert not {"i", "u"} & {tag for tag, _ in page.tags}
        assert page.data["a"]["name"] == str(a)
        assert page.data["registration"] == json.loads(json.dumps(registration.to_json()))
        assert str(a) in page.text
        assert (title or "<b>a&'\".png to image b") in page.text


def test_refused_shows_the_matches_and_no_overlay(pair: Pair, tmp_path: Path) -> None:
    found = made(None, count=30, outliers=0)
    page = written(tmp_path, found, *pair)
    assert page.texts["verdict"] == "Not registered"
    assert "Too few inliers." in page.text
    names = set(page.values("id"))
    assert not names & {"overlay", "slider", "blink", "arrows", "picture-moved", "matrix"}
    assert {"pair", "picture-a", "picture-b", "patches"} <= names
    shown = page.data["shown"]
    assert (shown["residuals"], shown["mapped"], page.data["coverage"]) == (None, None, None)
    assert shown["similarities"] == sorted(shown["similarities"])
    assert shown["probabilities"] is None
    np.testing.assert_allclose(shown["points"], found.points[shown["rows"]], atol=1e-4)


def test_colours_and_legend_are_those_of_the_pictures(page: Page, pair: Pair, tmp_path: Path) -> None:
    style = dict(part.split(": ") for part in dict(page.tags)["body"]["style"].split("; "))  # type: ignore[union-attr]
    assert style["--agrees"] == ", ".join(map(str, AGREES))
    assert style["--disagrees"] == ", ".join(map(str, DISAGREES))
    assert f"60 {PLANE_KINDS[0]} 15 {PLANE_KINDS[1]}" in page.text
    refused = written(tmp_path, made(None, count=30, outliers=0), *pair)
    assert "30 matches" in refused.text
    assert PLANE_KINDS[1] not in refused.text


@pytest.mark.parametrize("accepted", [True, False])
def test_windows_that_were_asked_are_shown(pair: Pair, truth: np.ndarray, tmp_path: Path, accepted: bool) -> None:
    windows = asked()
    page = written(tmp_path, replace(made(truth if accepted else None), agreement=windows), *pair)
    tiles = [attributes for tag, attributes in page.tags if tag == "rect" and "var" in str(attributes["fill"])]
    assert [tile["fill"] for tile in tiles] == [f"rgb(var(--{'' if ok else 'dis'}agrees))" for ok in windows.recognised]
    centres = [
        [float(str(t[c])) + float(str(t[side])) / 2 for c, side in (("x", "width"), ("y", "height"))] for t in tiles
    ]
    np.testing.assert_allclose(centres, windows.points, atol=0.02)
    assert float(str(tiles[0]["width"])) < windows.spacing
    strengths = np.array([float(str(tile["fill-opacity"])) for tile in tiles])
    assert strengths[:10].max() < strengths[10:].min()
    assert "12 windows of A recognise their place in B 3 take another place of B for theirs" in page.text
    assert page.data["agreement"]["recognised"] == windows.recognised.tolist()
    assert "agreement" in page.values("id")


def test_without_windows_no_agreement_is_shown(page: Page) -> None:
    assert page.data["agreement"] is None
    assert "agreement" not in page.values("id")
    assert "Where the images agree" not in page.text


def test_refused_without_any_match(pair: Pair, tmp_path: Path) -> None:
    page = written(tmp_path, made(None, count=0, outliers=0), *pair)
    assert page.data["shown"]["points"] == []
    assert "patches" not in page.values("id")


def test_probabilities_are_those_of_the_tie_points(found: Registration, pair: Pair, tmp_path: Path) -> None:
    given = np.linspace(0.2, 1, 60)
    shown = written(tmp_path, replace(found, probabilities=given), *pair).data["shown"]
    np.testing.assert_allclose(shown["probabilities"], given[shown["rows"]], atol=1e-4)


def test_unfit_input_is_refused(found: Registration, pair: Pair, tmp_path: Path) -> None:
    out = tmp_path / "out.html"
    with pytest.raises(InputError, match=r"image b: 200x100 pixels, but what was registered has 480x360"):
        write_report(found, pair[0], pair[1][:100, :200], out)
    with pytest.raises(InputError, match="no such file"):
        write_report(found, tmp_path / "none.png", pair[1], out)
    assert not out.exists()


def test_deep_images_are_stretched(found: Registration, pair: Pair, tmp_path: Path) -> None:
    page = written(tmp_path, found, pair[0].astype(np.uint16) * 8 + 7000, pair[1].astype(np.float32) / 1000)
    for name in ("picture-a", "picture-b", "picture-moved"):
        assert page.picture(name).dtype == np.uint8
        assert np.ptp(page.picture(name)) > 200


def test_noise_and_many_points_stay_below_the_limit(tmp_path: Path) -> None:
    """The worst case of every encoder: noise, more tie points than are drawn."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 256, (2, 1300, 1700), dtype=np.uint8)
    found = made(np.array([[1, 0, 3.0], [0, 1, 2], [0, 0, 1]]), size=(1700, 1300), count=8000, outliers=2000)
    found = replace(found, agreement=asked(27, 27, 40.0))
    page = written(tmp_path, found, a, b)
    assert (tmp_path / "out.html").stat().st_size < 5_000_000
    assert "1,000 of 8,000 tie points are drawn" in page.text
    assert "250 of 2,000 other correspondences are drawn" in page.text
    assert "reduced to 1,600 px" in page.text
    assert max(page.picture("picture-b").shape) <= 1600
    shown = page.data["shown"]
    assert len(shown["rows"]) == len(set(shown["rows"])) == 1000
    assert len(page.data["registration"]["tie_points"]) == 8000
    ranks = np.argsort(np.argsort(-found.residuals, kind="stable"), kind="stable")[shown["rows"]]
    assert (ranks[0], ranks[-1]) == (0, 7999)
    assert np.diff(ranks).max() <= 9
    sheet = page.picture("patches")
    assert sheet.shape[1] / sheet.shape[0] == pytest.approx(20 * 128 / (50 * 64))


def test_patches_beyond_the_border_repeat_it(pair: Pair) -> None:
    sheet = sprite(*pair, np.array([[0.0, 0.0, 479.0, 359.0]]))
    assert sheet.shape == (64, 128)
    assert (sheet[:31, :31] == pair[0][0, 0]).all()
    assert (sheet[-31:, -31:] == pair[1][-1, -1]).all()


@pytest.mark.slow
def test_the_command_writes_a_page(files: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out.html"
    arguments = ["--describer", "rootsift", "--max-keypoints", "800", "--json", "--report", str(out)]
    assert main(["register", str(files / "a.png"), str(files / "b.png"), *arguments]) == 0
    printed = json.loads(capfd.readouterr().out)
    page = Page(out.read_text(encoding="utf-8"))
    assert page.texts["verdict"] == "Registered"
    named = {"tiepoint": __version__, "a": page.data["a"]["name"], "b": page.data["b"]["name"]}
    assert {**page.data["registration"], **named} == printed
    assert main(["register", str(files / "a.png"), str(files / "other.png"), *arguments]) == 1
    assert Page(out.read_text(encoding="utf-8")).texts["verdict"] == "Not registered"


def test_json_ends_no_script_element() -> None:
    value = {"name": "</script><!-- & \u2028", "numbers": [1, 2.5, None]}
    text = json_script(value)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == value
    with pytest.raises(ValueError, match="JSON"):
        json_script(float("nan"))
