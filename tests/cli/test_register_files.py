"""What `tiepoint register` writes of images as users have them, and its options of warps, cameras and bands."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from dense_scene import moved, scene
from geotiffs import write_geotiff
from PIL import Image
from register_inputs import texture

from tiepoint.cli import main
from tiepoint.cli.register import _summarise
from tiepoint.images.geo import Geo
from tiepoint.images.raster import read_image
from tiepoint.registration.register import register
from tiepoint.report.draw import draw_registration

MATRIX = np.array([[0.99, -0.05, 14.0], [0.05, 1.0, -9.0], [0, 0, 1.0]])
QUICK = ("--describer", "rootsift", "--max-keypoints", "600", "--no-global-search", "--no-refine", "--json")
GEO = Geo((0.001, 0.0, 15.0, 0.0, -0.001, 50.0), "EPSG:4326", 4326)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png and b.png, a seen through MATRIX; turned.jpg, a with an EXIF orientation; bent.png; other.png."""
    path = tmp_path_factory.mktemp("files")
    a = texture()
    b = cv2.warpPerspective(a, MATRIX, (320, 240), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    y, x = np.mgrid[:240, :320].astype(np.float32)
    bent = cv2.remap(b, x + 4 * np.sin(y / 40), y + 4 * np.cos(x / 45), cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    for name, image in {"a": a, "b": b, "bent": bent, "other": texture(1)}.items():
        assert cv2.imwrite(str(path / f"{name}.png"), image)
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(a)))
    stored.getexif()[274] = 6
    stored.save(path / "turned.jpg", exif=stored.getexif(), quality=95)
    return path


@pytest.fixture(scope="module")
def maps(folder: Path) -> Path:
    """many.tif, three bands of which the second, nir, is a; map.tif, which is b with a georeference."""
    pytest.importorskip("rasterio")
    noise = np.random.default_rng(0).integers(0, 60_000, (240, 320)).astype(np.uint16)
    a, b = (cv2.imread(str(folder / f"{name}.png"), cv2.IMREAD_GRAYSCALE) for name in "ab")
    write_geotiff(
        folder / "many.tif", np.stack([noise, a.astype(np.uint16) * 100, noise]), None, names=["x", "nir", "y"]
    )
    write_geotiff(folder / "map.tif", b, GEO)
    return folder


def run(folder: Path, a: str, b: str, *options: Any) -> int:
    return main(["register", str(folder / a), str(folder / b), *QUICK, *map(str, options)])


def result(capfd: pytest.CaptureFixture[str]) -> dict[str, Any]:
    captured = capfd.readouterr()
    assert captured.err == ""
    return dict(json.loads(captured.out))


def grey_inside(overlay: Path) -> float:
    """How far red and cyan differ away from the border: little where both images show the same."""
    picture = cv2.imread(str(overlay)).astype(int)[50:-50, 50:-50]
    return float(np.abs(picture[..., 0] - picture[..., 2]).mean())


def test_a_turned_photograph_is_drawn_as_it_was_registered(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "turned.jpg", "b.png", "--out", tmp_path / "out") == 0
    np.testing.assert_allclose(np.array(result(capfd)["matrix"])[:2, 2], MATRIX[:2, 2], atol=1)
    upright = read_image(folder / "turned.jpg")
    assert upright.pixels.shape == (240, 320)
    options: dict[str, Any] = {"max_keypoints": 600, "global_search": False, "refine": False}
    found = register(upright, folder / "b.png", "rootsift", **options)
    drawn = cv2.imread(str(tmp_path / "out" / "matches.png"))[..., ::-1]
    np.testing.assert_array_equal(drawn, draw_registration(upright, folder / "b.png", found))
    assert grey_inside(tmp_path / "out" / "overlay.png") < 6


def test_a_band_is_registered_and_drawn_and_all_are_warped(
    maps: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = ("--out", tmp_path, "--report", tmp_path / "page.html", "--warp-output", tmp_path / "warped.tif")
    assert run(maps, "many.tif", "map.tif", "--band-a", "nir", *files) == 0
    found = result(capfd)
    np.testing.assert_allclose(np.array(found["matrix"])[:2, 2], MATRIX[:2, 2], atol=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "matches.png", "overlay.png", "page.html", "result.json", "tie_points.csv", "tie_points.geojson",
        "tie_points.points", "warped.tif",
    ]  # fmt: skip
    assert grey_inside(tmp_path / "overlay.png") < 6
    first = json.loads((tmp_path / "tie_points.geojson").read_text(encoding="utf-8"))["features"][0]
    x, y = found["tie_points"][0][2:]
    np.testing.assert_allclose(first["geometry"]["coordinates"], GEO.to_map([[x, y]])[0], atol=1e-6)
    warped = read_image(tmp_path / "warped.tif", "nir")
    assert warped.bands == ("x", "nir", "y")
    assert warped.geo is not None
    assert warped.geo.epsg == 4326
    fixed = read_image(maps / "map.tif").pixels.astype(int)
    assert np.abs(warped.pixels / 100 - fixed)[50:-50, 50:-50].mean() < 4


def test_a_refused_run_removes_what_an_earlier_one_wrote(
    maps: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = ("--out", tmp_path, "--warp-output", tmp_path / "warped.tif")
    assert run(maps, "a.png", "map.tif", *files) == 0
    assert (tmp_path / "tie_points.points").exists()
    capfd.readouterr()
    assert run(maps, "other.png", "map.tif", *files) == 1
    assert result(capfd)["accepted"] is False
    assert sorted(path.name for path in tmp_path.iterdir()) == ["matches.png", "result.json"]


def test_agreement_is_drawn_of_accepted_and_refused_pairs(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, image in {"a": scene(), "b": moved(scene(), 10.0)[0].pixels, "other": scene(1)}.items():
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), image)
    picture, blue = tmp_path / "out" / "agreement.png", []
    for second, code in (("b.png", 0), ("other.png", 1)):
        words = [str(tmp_path / name) for name in ("a.png", second)]
        assert main(["register", *words, "--json", "--out", str(picture.parent)]) == code
        assert result(capfd)["accepted"] is (code == 0)
        drawn = cv2.imread(str(picture)).astype(int)
        blue.append(int((drawn[..., 0] - drawn[..., 2] > 20).sum()))
    assert blue[0] > 10 * blue[1]
    run(tmp_path, "a.png", "b.png", "--out", picture.parent)
    assert not picture.exists()  # of windows that no longer were described


def test_a_warp_bends_the_overlay_and_the_warped_image(
    maps: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(maps, "a.png", "bent.png", "--out", tmp_path / "straight") == 0
    assert result(capfd)["warp"] is None
    files = ("--out", tmp_path / "bent", "--warp-output", tmp_path / "warped.tif")
    assert run(maps, "a.png", "bent.png", "--warp", "thin-plate", *files) == 0
    warp = result(capfd)["warp"]
    assert warp["taken"]
    assert warp["held_out_after"] < 0.7 * warp["held_out_before"]
    assert grey_inside(tmp_path / "bent" / "overlay.png") < 0.5 * grey_inside(tmp_path / "straight" / "overlay.png")
    difference = read_image(tmp_path / "warped.tif").pixels.astype(int) - cv2.imread(str(maps / "bent.png"), 0)
    assert np.abs(difference)[50:-50, 50:-50].mean() < 4


def test_the_table_shows_the_warp(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = QUICK[:-1]
    assert main(["register", str(folder / "a.png"), str(folder / "bent.png"), *words, "--warp", "piecewise"]) == 0
    printed = capfd.readouterr().out
    for text in ("warp: kind", "piecewise", "warp: held out after", "matrix row 3"):
        assert text in printed


def test_the_table_shows_the_pose() -> None:
    pose = {"rotation": np.eye(3).tolist(), "translation": [0.6, 0.0, 0.8]}
    shown = _summarise({"matrix": None, "pose": pose, "warp": None, "evidence": {"places": 3}, "reasons": ["a", "b"]})
    assert shown == {
        "rotation row 1": "1 0 0", "rotation row 2": "0 1 0", "rotation row 3": "0 0 1", "translation": "0.6 0 0.8",
        "evidence: places": 3, "reasons": "a; b",
    }  # fmt: skip


def test_two_views_of_a_plane_are_refused_and_say_so(
    folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "a.png", "b.png", "--model", "fundamental", "--out", tmp_path) == 1
    assert "the matches lie on a plane" in result(capfd)["reasons"][0]
    cameras = ("--camera-a", 300, 300, 160, 120)
    assert run(folder, "a.png", "other.png", "--model", "essential", *cameras, "--camera-b", 310, 310, 160, 120) == 1
    refused = result(capfd)
    assert (refused["model"], refused["matrix"], refused["pose"]) == ("essential", None, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--model", "essential"), "essential needs camera_a"),
        (("--camera-a", "1", "1", "0", "0"), "camera_a is for the model essential, not auto"),
        (("--camera-b", "1", "1", "0", "0"), "camera_b stands alone"),
        (("--model", "essential", "--camera-a", "-1", "1", "0", "0"), "camera_a is (-1"),
        (("--model", "fundamental", "--warp", "piecewise"), "leave out warp"),
        (("--model", "fundamental", "--relater", "rrlnet-visnir"), "give top_k, or no relater"),
        (("--warp", "spline"), "spline"),
        (("--band-a", "nir"), "a.png: has no band 'nir'"),
        (("--band-b", "2"), "b.png: has no band 2"),
        (("--warp-output", "OUT/x.png"), "name it .tif"),
        (("--warp-output", "OUT/x.tif", "--model", "fundamental"), "leave out warp_output"),
    ],
)
def test_what_does_not_go_together_exits_with_2_and_one_line(
    folder: Path, tmp_path: Path, options: tuple[str, ...], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(folder, "a.png", "b.png", *(word.replace("OUT", str(tmp_path)) for word in options)) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert said in captured.err
    assert list(tmp_path.iterdir()) == []


def test_an_image_is_not_warped_onto_itself(maps: Path, capfd: pytest.CaptureFixture[str]) -> None:
    before = (maps / "map.tif").read_bytes()
    assert run(maps, "a.png", "map.tif", "--warp-output", maps / "map.tif") == 2
    assert "map.tif: is an input" in capfd.readouterr().err
    assert (maps / "map.tif").read_bytes() == before


def test_without_rasterio_warp_output_says_what_to_install(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "rasterio", None)
    assert run(folder, "a.png", "b.png", "--warp-output", tmp_path / "x.tif") == 2
    assert "needs rasterio: pip install 'tiepoint[geo]'" in capfd.readouterr().err


def test_many_pairs_have_their_tables_and_warped_images(
    maps: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (maps / "pairs.csv").write_text("a,b,name\nmany.tif,map.tif,one\n", encoding="utf-8")
    options = ("--out", str(tmp_path), "--band-a", "nir", "--warp-output", "warped.tif", "--warp", "thin-plate")
    assert main(["register", str(maps / "pairs.csv"), *QUICK, *options]) == 0
    assert result(capfd)["accepted"] == 1
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == [
        "result.json", "tie_points.csv", "tie_points.geojson", "tie_points.points", "warped.tif",
    ]  # fmt: skip
    assert main(["register", str(maps / "pairs.csv"), *QUICK, *options]) == 0
    assert result(capfd)["reused"] == 1


@pytest.mark.slow
def test_large_images_are_shown_reduced(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    layers = [cv2.resize(rng.normal(size=(side, side)), (1000, 1000)) for side in (25, 100, 400)]
    image = (128 + 25 * sum(layers)).clip(0, 255).astype(np.uint8)
    moved = np.roll(image, (16, 24), axis=(0, 1))
    for name, pixels in {"a": image, "b": moved}.items():
        assert cv2.imwrite(str(tmp_path / f"{name}.png"), pixels)
    out, page = tmp_path / "out", tmp_path / "page.html"
    words = ["--describer", "rootsift", "--max-keypoints", "1000", "--large", "always", "--overview", "512", "--json"]
    files = ["--out", str(out), "--report", str(page)]
    assert main(["register", *(str(tmp_path / f"{name}.png") for name in "ab"), *words, *files]) == 0
    found = result(capfd)
    np.testing.assert_allclose(found["matrix"], [[1, 0, 24], [0, 1, 16], [0, 0, 1]], atol=0.05)
    overlay = cv2.imread(str(out / "overlay.png"))
    assert overlay is not None
    assert overlay.shape[1] == 500
    assert '"width":500' in page.read_text(encoding="utf-8").replace(": ", ":")
