"""Large images are registered as small ones are, but read in windows."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from bands import needs_rasterio
from cheap_models import correlation

from tiepoint.errors import InputError
from tiepoint.geometry.robust import apply, corner_error, residuals
from tiepoint.images.pixels import write_image
from tiepoint.images.raster import Reader, open_image
from tiepoint.images.sources import ArraySource
from tiepoint.images.window import Window
from tiepoint.options import Estimation, Reading
from tiepoint.options import Registration as Options
from tiepoint.registration.large import is_read_in_windows, read_for_pictures
from tiepoint.registration.register import register
from tiepoint.registration.result import Registration

WIDTH, HEIGHT = 1600, 1200
SMALL = 1000, 450
AFFINE = np.array([[0.98, -0.1, 90.0], [0.11, 1.01, -60.0], [0, 0, 1]])
Texture = Callable[..., np.ndarray]
Pair = tuple[np.ndarray, np.ndarray]


class Counting(ArraySource):
    """Remembers the windows that are read, but for those of the statistics."""

    def read(self, bands: Sequence[int], window: Window, step: int = 1) -> tuple[np.ndarray, np.ndarray | None]:
        if step == 1:
            self.__dict__.setdefault("windows", []).append(window)
        return super().read(bands, window, step)


def reader(image: np.ndarray, mask: np.ndarray | None = None, kind: type[ArraySource] = ArraySource) -> Reader:
    return Reader(kind("image", image[None], ("1",), mask=mask))


def large(a: Any, b: Any, **options: Any) -> Registration:
    return register(a, b, "rootsift", **{"tile": 512, "overview": 512, "max_keypoints": 1000, **options})


def warped(image: np.ndarray, matrix: np.ndarray, size: tuple[int, int] = (WIDTH, HEIGHT)) -> np.ndarray:
    return cv2.warpPerspective(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)


@pytest.fixture(scope="module")
def scene(texture: Texture) -> Pair:
    """Image a, and b, which is a's negative in 16 bit seen through AFFINE."""
    a = texture(3, WIDTH, HEIGHT)
    return a, (40_000 - 60.0 * warped(a, AFFINE)).astype(np.uint16)


@pytest.fixture(scope="module")
def found(scene: Pair) -> Registration:
    return large(reader(scene[0]), reader(scene[1]))


def test_a_known_affinity_is_found_to_a_fraction_of_a_pixel_of_the_full_size(found: Registration) -> None:
    assert found.accepted
    assert found.matrix is not None
    assert found.model == "affine"
    assert corner_error(found.matrix, AFFINE, WIDTH, HEIGHT) < 0.05
    assert found.confidence > 0.9


@pytest.mark.slow
def test_it_is_as_by_images_that_are_compared_whole(found: Registration, scene: Pair) -> None:
    whole = register(*scene, "rootsift", max_keypoints=1000)
    assert whole.matrix is not None
    assert found.matrix is not None
    assert corner_error(found.matrix, whole.matrix, WIDTH, HEIGHT) < 0.1
    assert found.evidence.places == pytest.approx(whole.evidence.places, rel=0.2)
    for name in ("support", "coverage", "score", "roundtrip"):
        assert getattr(found.evidence, name) == pytest.approx(getattr(whole.evidence, name), abs=0.1)


def test_the_parts_agree_with_each_other(found: Registration) -> None:
    count = int(found.inliers.sum())
    assert found.scores.shape == found.inliers.shape == (len(found.points),)
    assert found.residuals.shape == (count,)
    assert found.evidence.places == count > 150
    assert len(np.unique(found.tie_points[:, 2:], axis=0)) == count
    assert found.residuals.max() <= 3
    assert residuals(AFFINE, found.tie_points[:, :2], found.tie_points[:, 2:]).max() < 0.5
    table = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert len(table["tie_points"]) == count


def test_matches_are_in_pixels_of_the_full_size_and_hold_no_image(texture: Texture) -> None:
    a = texture(4, *SMALL)
    found = large(reader(a), reader(warped(a, AFFINE, SMALL)))
    assert (found.a.size, found.a.factor) == (SMALL, 2)
    assert len(found.matches) > 50
    assert np.median(residuals(AFFINE, found.matches[:, :2], found.matches[:, 2:])) < 1.5


def test_no_more_than_a_tile_is_read_at_once(texture: Texture) -> None:
    image = texture(1, *SMALL)
    readers = [reader(image, kind=Counting) for _ in "ab"]
    for opened in readers:
        opened.source.windows.clear()  # type: ignore[attr-defined]  # of the statistics
    assert large(*readers, tile=150).accepted
    for opened in readers:
        windows = opened.source.windows  # type: ignore[attr-defined]
        assert max(max(window.width, window.height) for window in windows) == 150
        seen = np.zeros(image.shape, dtype=int)
        for window in windows:
            seen[window.slices] += 1
        assert (seen > 0).all()


@pytest.mark.slow
def test_a_finer_image_is_compared_at_the_size_of_the_coarser(texture: Texture) -> None:
    a = texture(8, WIDTH, HEIGHT)
    truth = np.array([[0.5, 0.03, 10.0], [-0.02, 0.49, 5.0], [2e-5, 0, 1]])
    b = warped(cv2.GaussianBlur(a, (0, 0), 1.0), truth, (800, 600))
    there, back = large(reader(a), reader(b)), large(reader(b), reader(a))
    assert there.matrix is not None
    assert back.matrix is not None
    assert corner_error(there.matrix, truth, WIDTH, HEIGHT) < 0.3
    assert corner_error(np.linalg.inv(back.matrix), truth, WIDTH, HEIGHT) < 0.3


@pytest.mark.slow
def test_what_is_nodata_gives_no_tie_points(scene: Pair) -> None:
    a, b = scene
    mask = np.ones(b.shape, dtype=bool)
    mask[:, : WIDTH // 2] = False
    found = large(reader(a), reader(np.where(mask, b, 0).astype(np.uint16), mask))
    assert found.accepted
    assert found.matrix is not None
    assert (found.tie_points[:, 2] >= WIDTH // 2).all()
    assert found.tie_points[:, 2].min() < WIDTH // 2 + 200
    assert corner_error(found.matrix, AFFINE, WIDTH, HEIGHT) < 0.3


def test_images_of_other_places_are_refused_when_they_are_reduced(texture: Texture) -> None:
    steps: list[tuple[int, int]] = []
    found = large(reader(texture(1, *SMALL)), reader(texture(2, *SMALL)), progress=lambda *step: steps.append(step))
    assert not found.accepted
    assert found.matrix is None
    assert found.reasons[0] == "refused when reduced to 500 x 225 and 500 x 225 px"
    assert found.reasons[1].startswith("confidence")
    assert not found.inliers.any()
    assert found.points[:, 2].max() > 600  # in pixels of the full size
    assert steps[-1][0] == steps[-1][1]


@pytest.mark.slow
def test_images_alike_when_reduced_alone_are_refused_at_full_size(texture: Texture) -> None:
    common = cv2.resize(texture(11, 500, 225), SMALL, interpolation=cv2.INTER_CUBIC).astype(np.float32)
    random = np.random.default_rng(0)
    pair = [common + random.normal(0, 120, common.shape).astype(np.float32) for _ in range(2)]
    assert register(*(cv2.resize(i, (500, 225), interpolation=cv2.INTER_AREA) for i in pair), "rootsift").accepted
    found = large(*(reader(image) for image in pair))
    assert not found.accepted
    assert found.reasons[-1] == "that is at full size: reduced, the images register"
    assert found.confidence < 0.5
    assert not found.inliers.any()


@pytest.mark.slow
def test_a_relater_gives_each_tie_point_a_probability(texture: Texture) -> None:
    image = texture(1, *SMALL)
    relater, _ = correlation()
    steps: list[tuple[int, int]] = []
    found = large(
        reader(image), reader(image), relater=relater, spectra=("sar", "opt"),
        progress=lambda *step: steps.append(step),
    )  # fmt: skip
    assert len({total for _, total in steps}) == 1
    assert [done for done, _ in steps] == sorted(done for done, _ in steps)
    assert steps[-1][0] == steps[-1][1]
    assert found.probabilities is not None
    assert found.probabilities.shape == (found.inliers.sum(),)
    assert found.probabilities.min() > 0.9
    flipped = large(reader(image), reader(255 - image), relater=relater)
    assert flipped.reasons == ("the relater takes 0 of the tie points for matches; 4 would be needed",)
    assert flipped.matrix is None


@pytest.mark.slow
def test_a_relater_makes_the_matches_of_the_reduced_images_too(texture: Texture) -> None:
    image = texture(1, *SMALL)
    relater, _ = correlation()
    found = large(reader(image), reader(image), relater=relater, top_k=2, spectra=("sar", "opt"), max_keypoints=100)
    assert found.accepted
    assert found.probabilities is not None


@pytest.mark.slow
def test_a_warp_bends_what_no_transform_explains(texture: Texture) -> None:
    a = texture(1, *SMALL)
    y, x = np.mgrid[:450, :1000].astype(np.float32)
    b = cv2.remap(a, x + 2.5 * np.sin(x / 150), y + 2.5 * np.cos(y / 130), cv2.INTER_CUBIC)
    found = large(reader(a), reader(b), warp="thin-plate")
    assert found.trial is not None
    assert found.warp is not None
    places = found.tie_points[:, 2:]
    truth = places + 2.5 * np.column_stack([np.sin(places[:, 0] / 150), np.cos(places[:, 1] / 130)])
    assert np.median(np.linalg.norm(found.map(truth) - places, axis=1)) < 0.3


@pytest.mark.slow
def test_images_that_need_no_reduction_are_compared_whole(pair: Pair) -> None:
    assert (
        large(*(reader(image) for image in pair), overview=600).to_json()
        == register(*pair, "rootsift", max_keypoints=1000).to_json()
    )


@pytest.mark.slow
@needs_rasterio
def test_files_are_read_in_windows_and_by_band(texture: Texture, tmp_path: Path) -> None:
    from geotiffs import write_geotiff

    from tiepoint.images.geo import Geo

    a = texture(1, *SMALL)
    b = warped(a, AFFINE, SMALL)
    geo = Geo((10.0, 0, 5e5, 0, -10.0, 4e6))
    write_geotiff(tmp_path / "a.tif", np.stack([np.zeros_like(a), a]), geo, names=("empty", "full"))
    write_image(tmp_path / "b.png", b)
    found = large(tmp_path / "a.tif", str(tmp_path / "b.png"), band_a="full", large="always")
    assert found.matrix is not None
    assert corner_error(found.matrix, AFFINE, *SMALL) < 0.1
    assert found.a.geo == geo
    with open_image(tmp_path / "a.tif", "full") as opened:
        again = large(opened, reader(b))
        opened.read(Window(0, 0, 8, 8))  # it is left open
    assert again.to_json() == found.to_json()
    assert (found.a.source, found.a.band) == (tmp_path / "a.tif", "full")
    assert again.a.source is None  # nothing says which band the reader was opened with
    with pytest.raises(InputError, match=r"a\.tif: has no band '3'"):
        large(tmp_path / "a.tif", tmp_path / "b.png", band_a="3", large="always")


@pytest.mark.slow
def test_pictures_show_the_registration_in_reduced_pixels(scene: Pair, tmp_path: Path) -> None:
    paths = tmp_path / "a.png", tmp_path / "b.png"
    for path, image in zip(paths, scene, strict=True):
        write_image(path, image)
    found = large(*paths, large="always")
    a, b, view = read_for_pictures(found)
    assert a.pixels.shape == b.pixels.shape == (300, 400)
    assert view.matrix is not None
    assert found.matrix is not None
    np.testing.assert_allclose(view.points[:, 2:] * 4 + 1.5, found.points[:, 2:])
    np.testing.assert_allclose(
        apply(view.matrix, [[10, 20]]) * 4 + 1.5, apply(found.matrix, np.array([[10, 20]]) * 4 + 1.5), atol=1e-6
    )


def test_an_image_is_large_by_its_header(tmp_path: Path) -> None:
    write_image(tmp_path / "small.png", np.zeros((4096, 4096), np.uint8))
    write_image(tmp_path / "large.png", np.zeros((4097, 4096), np.uint8))
    small, huge = tmp_path / "small.png", tmp_path / "large.png"
    assert not is_read_in_windows(small, small, Options(), False)
    assert is_read_in_windows(small, huge, Options(), False)
    assert not is_read_in_windows(small, huge, Options(reading=Reading(large="never")), False)
    assert not is_read_in_windows(small, huge, Options(Estimation(refine=False)), False)
    with pytest.raises(InputError, match="no such file"):
        is_read_in_windows(small, tmp_path / "none.png", Options(), False)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tile": 0}, "tile is 0: give a positive"),
        ({"overview": 511}, "overview is 511: give at least 512"),
        ({"model": "fundamental"}, "model is 'fundamental': large images are registered by auto, similarity"),
        ({"warp": "spline"}, "no warp 'spline': there are thin-plate, piecewise"),
        ({"warp": "thin-plate", "relater": correlation()[0]}, "do not go together"),
        ({"refine": False}, "leave refine switched on"),
        ({"band_a": 1}, "image: its band was chosen when it was opened: leave out band 1"),
        ({"relater": correlation()[0], "spectra": ("vis", "ir")}, "relates opt and sar"),
        ({"min_confidence": 2.0}, "min_confidence is 2"),
    ],
)
def test_arguments_that_cannot_be_met_are_refused(texture: Texture, options: dict[str, Any], message: str) -> None:
    image = reader(texture(1, 600, 500))
    with pytest.raises(InputError, match=message):
        large(image, image, **options)
