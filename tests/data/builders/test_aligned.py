"""Pairs of images to patches: which keypoints, which pixels, in which order, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from aligned_images import HEIGHT, HOMOGRAPHY, SIMILARITY, WIDTH, images, write_pair
from numpy.typing import NDArray
from PIL import Image

from tiepoint.data.builders.aligned import build_aligned, project
from tiepoint.data.labelled_pairs import cross_points, labelled_pairs
from tiepoint.errors import InputError
from tiepoint.images.raster import read_image
from tiepoint.patches import PatchSet

REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "visnir" / "test"
Matrix = NDArray[np.float64]


def protocol_keypoints(
    image: NDArray[np.uint8], matrix: Matrix, other: tuple[int, int], most: int = 250
) -> list[tuple[int, int]]:
    """The VIS-NIR patch protocol's keypoints, step by step, one at a time."""
    sift = cv2.SIFT.create(3000, contrastThreshold=0.02, enable_precise_upscale=True)
    kept: list[tuple[int, int]] = []
    for keypoint in sorted(sift.detect(image, None), key=lambda k: (-k.response, k.pt[1], k.pt[0])):
        x, y = round(keypoint.pt[0]), round(keypoint.pt[1])
        if not (40 <= x <= image.shape[1] - 41 and 40 <= y <= image.shape[0] - 41):
            continue
        corners = [matrix @ [x + dx, y + dy, 1] for dx in (-32, 31) for dy in (-32, 31)]
        if not all(0 <= u / w <= other[1] - 1 and 0 <= v / w <= other[0] - 1 for u, v, w in corners):
            continue
        if all(abs(x - a) >= 8 or abs(y - b) >= 8 for a, b in kept):
            kept.append((x, y))
    return kept[:most]


def bilinear(image: NDArray[Any], x: float, y: float) -> float:
    left, top = min(int(x), image.shape[1] - 2), min(int(y), image.shape[0] - 2)
    a, b = x - left, y - top
    (p, q), (r, s) = image[top : top + 2, left : left + 2].tolist()
    return float((1 - b) * ((1 - a) * p + a * q) + b * ((1 - a) * r + a * s))


def brute_force(image: NDArray[Any], x: int, y: int, matrix: Matrix) -> NDArray[np.float64]:
    """The patch around (x, y), pixel by pixel."""
    patch = np.empty((64, 64))
    for row in range(64):
        for column in range(64):
            u, v, w = matrix @ [x - 32 + column, y - 32 + row, 1]
            patch[row, column] = bilinear(image, u / w, v / w)
    return patch


def check_layout(data: PatchSet, counts: list[int]) -> None:
    """Two rows a point in turn, the points of each scene together."""
    data.verify()
    total = sum(counts)
    np.testing.assert_array_equal(data.points, np.repeat(np.arange(total), 2))
    np.testing.assert_array_equal(data.spectra, np.tile([0, 1], total))
    np.testing.assert_array_equal(data.images, np.repeat(np.arange(len(counts)), 2 * np.array(counts)))
    assert data.positions is not None
    np.testing.assert_array_equal(data.positions[::2], data.positions[1::2])
    assert data.pairs is None


def test_aligned_images_give_their_own_pixels(tmp_path: Path) -> None:
    pairs = [write_pair(tmp_path / "in" / "field", "1", 1), write_pair(tmp_path / "in" / "urban", "1", 2)]
    steps: list[tuple[int, int]] = []
    data = build_aligned(tmp_path / "in", tmp_path / "out", licence="CC0", progress=lambda *step: steps.append(step))
    expected = [protocol_keypoints(pair[0], np.eye(3), (HEIGHT, WIDTH)) for pair in pairs]
    assert min(map(len, expected)) > 10
    check_layout(data, list(map(len, expected)))
    assert data.positions is not None
    assert data.positions[::2].tolist() == [list(map(float, place)) for places in expected for place in places]
    assert (data.image_names, data.manifest["spectra"]) == (["field/1", "urban/1"], ["vis", "nir"])
    assert (data.patches.dtype, data.manifest["licence"]) == (np.uint8, "CC0")
    for row in range(len(data)):
        x, y = data.positions[row].astype(int)
        image = pairs[data.images[row]][data.spectra[row]]
        np.testing.assert_array_equal(data.patches[row, 0], image[y - 32 : y + 32, x - 32 : x + 32])
    assert steps == [(1, 4), (2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize(
    "matrix", [SIMILARITY, HOMOGRAPHY, -2 * HOMOGRAPHY], ids=["similarity", "homography", "factor"]
)
@pytest.mark.parametrize("searched", ["first", "second"])
def test_a_transform_against_pixel_by_pixel(tmp_path: Path, searched: str, matrix: Matrix) -> None:
    pair = write_pair(tmp_path / "in", "1", 3, matrix)
    data = build_aligned(tmp_path / "in", tmp_path / "out", keypoints=searched)  # type: ignore[arg-type]
    side = int(searched == "second")
    way = np.linalg.inv(HOMOGRAPHY) if side else HOMOGRAPHY
    if matrix is SIMILARITY:
        way = np.linalg.inv(SIMILARITY) if side else SIMILARITY
    expected = protocol_keypoints(pair[side], way, (HEIGHT, WIDTH))
    assert len(expected) > 10
    check_layout(data, [len(expected)])
    assert data.positions is not None
    in_first = project(np.array(expected, dtype=np.float64), way) if side else np.array(expected)
    np.testing.assert_allclose(data.positions[::2], in_first, atol=1e-4)
    for number in (0, len(expected) // 2, len(expected) - 1):
        x, y = expected[number]
        own = pair[side][y - 32 : y + 32, x - 32 : x + 32]
        np.testing.assert_array_equal(data.patches[2 * number + side, 0], own)
        truth = brute_force(pair[1 - side], x, y, way)
        np.testing.assert_allclose(data.patches[2 * number + 1 - side, 0], truth, atol=0.5 + 1e-6)


def test_the_order_of_the_spectra_turns_nothing_but_the_rows(tmp_path: Path) -> None:
    write_pair(tmp_path / "in", "1", 4, SIMILARITY)
    one = build_aligned(tmp_path / "in", tmp_path / "one")
    two = build_aligned(tmp_path / "in", tmp_path / "two", spectra=("nir", "vis"), keypoints="second")
    assert two.manifest["spectra"] == ["nir", "vis"]
    np.testing.assert_array_equal(two.patches[1::2], one.patches[::2])
    np.testing.assert_allclose(two.patches[::2].astype(int), one.patches[1::2], atol=1)
    assert one.positions is not None
    assert two.positions is not None
    np.testing.assert_allclose(two.positions, project(one.positions.astype(np.float64), SIMILARITY), atol=1e-4)


def test_a_table_gives_what_a_folder_gives(tmp_path: Path) -> None:
    for name, seed, matrix in (("1", 5, None), ("2", 6, SIMILARITY)):
        write_pair(tmp_path / "in", name, seed, matrix)
    lines = (
        "first,second,transform,category",
        "1_vis.png,1_nir.png,,field",
        "2_vis.png,2_nir.png,2_vis_to_nir.txt,urban",
    )
    (tmp_path / "in" / "pairs.csv").write_text("\n".join(lines))
    one = build_aligned(tmp_path / "in", tmp_path / "one")
    two = build_aligned(tmp_path / "in" / "pairs.csv", tmp_path / "two")
    for name in ("patches", "positions", "images"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    assert two.image_names == ["field/1_vis", "urban/2_vis"]
    assert cross_points(two).names == ["field", "urban"]


def write(path: Path, image: NDArray[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), image)


def test_depths_are_kept_or_made_alike(tmp_path: Path) -> None:
    first, second = images(7)
    write(tmp_path / "in" / "1_vis.png", first)
    write(tmp_path / "in" / "1_nir.png", second.astype(np.uint16) * 200 + 7)
    data = build_aligned(tmp_path / "in", tmp_path / "out")
    assert (data.patches.dtype, data.positions is None) == (np.uint16, False)
    x, y = data.positions[0].astype(int)  # type: ignore[index]
    window = np.s_[y - 32 : y + 32, x - 32 : x + 32]
    np.testing.assert_array_equal(data.patches[0, 0], first[window].astype(int) * 257)
    np.testing.assert_array_equal(data.patches[1, 0], second[window].astype(int) * 200 + 7)


def test_stretch_maps_percentiles_of_any_depth(tmp_path: Path) -> None:
    first, second = images(8)
    thermal = (20 + second / 25).astype(np.float32)  # degrees
    write(tmp_path / "in" / "1_vis.png", first)
    write(tmp_path / "in" / "1_nir.tif", thermal)
    with pytest.raises(InputError, match=r"1_nir\.tif: grey values are float32: .* use --stretch"):
        build_aligned(tmp_path / "in", tmp_path / "out")
    data = build_aligned(tmp_path / "in", tmp_path / "out", stretch=True)
    low, high = np.percentile(thermal, (0.1, 99.9))
    truth = ((thermal - low) / (high - low)).clip(0, 1) * 65535
    x, y = data.positions[0].astype(int)  # type: ignore[index]
    window = np.s_[y - 32 : y + 32, x - 32 : x + 32]
    assert data.patches.dtype == np.uint16
    np.testing.assert_array_equal(data.patches[0, 0], first[window].astype(int) * 257)
    np.testing.assert_allclose(data.patches[1, 0], truth[window], atol=2)


def test_colour_is_luma_or_kept(tmp_path: Path) -> None:
    rgb = np.dstack([images(seed)[0] for seed in (9, 10, 11)])
    write(tmp_path / "in" / "1_vis.png", rgb[:, :, ::-1])
    write(tmp_path / "in" / "1_nir.png", images(9)[1])
    grey, colour = (build_aligned(tmp_path / "in", tmp_path / name, color=name == "c") for name in ("g", "c"))
    assert (grey.patches.shape[1], colour.patches.shape[1]) == (1, 3)
    np.testing.assert_array_equal(grey.positions, colour.positions)  # type: ignore[arg-type]
    x, y = grey.positions[0].astype(int)  # type: ignore[index]
    window = rgb[y - 32 : y + 32, x - 32 : x + 32]
    np.testing.assert_allclose(grey.patches[0, 0], window @ [0.299, 0.587, 0.114], atol=0.6)
    np.testing.assert_array_equal(colour.patches[0], window.transpose(2, 0, 1))
    np.testing.assert_array_equal(colour.patches[1], np.repeat(grey.patches[1], 3, axis=0))


def test_options_bound_the_keypoints(tmp_path: Path) -> None:
    write_pair(tmp_path / "in", "1", 12)
    counter = iter(range(99))

    def places(**options: Any) -> NDArray[np.float32]:
        data = build_aligned(tmp_path / "in", tmp_path / f"out{next(counter)}", **options)
        assert data.positions is not None
        return data.positions[::2]

    usual = places()
    np.testing.assert_array_equal(places(max_keypoints=5), usual[:5])
    assert len(usual) > len(places(min_distance=20)) > 1
    assert len(usual) > len(places(contrast=0.06))
    assert len(usual) > len(places(features=20))
    inner = places(border=60)
    assert len(usual) > len(inner)
    assert inner.min() >= 60
    assert (inner <= [WIDTH - 61, HEIGHT - 61]).all()
    every = places(min_distance=0, border=32)
    assert len(np.unique(every, axis=0)) == len(every) > len(usual)


def test_pairs_without_keypoints_are_left_out_and_listed(tmp_path: Path) -> None:
    for name in ("1", "3"):
        write_pair(tmp_path / "in", name, int(name))
    for spectrum in ("vis", "nir"):
        write(tmp_path / "in" / f"0_{spectrum}.png", np.full((120, 130), 90, np.uint16))
        write(tmp_path / "in" / f"2_{spectrum}.png", np.zeros((3, 5), np.uint8))
    data = build_aligned(tmp_path / "in", tmp_path / "out")
    assert (data.image_names, data.patches.dtype) == (["1", "3"], np.uint8)
    assert np.unique(data.images).tolist() == [0, 1]
    provenance = data.manifest["provenance"]
    assert (provenance["pairs"], provenance["without_keypoints"], provenance["source"]) == (4, ["0", "2"], "in")


def test_the_manifest_says_how_it_was_built(tmp_path: Path) -> None:
    write_pair(tmp_path / "in", "1")
    data = build_aligned(tmp_path / "in", tmp_path / "out", keypoints="second", max_keypoints=4, border=50)
    said = json.loads((tmp_path / "out" / "manifest.json").read_text())["provenance"]
    options = {"keypoints": "second", "max_keypoints": 4, "features": 3000, "contrast": 0.02, "min_distance": 8.0}
    assert options | {"border": 50, "color": False, "stretch": False} == {
        key: said[key] for key in (*options, "border", "color", "stretch")
    }
    assert str(tmp_path) not in json.dumps(data.manifest)


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images of ../shared/data beside the repository")
def test_the_protocol_on_real_pairs(tmp_path: Path) -> None:
    import tiepoint
    from tiepoint.evaluation.cross_spectral import evaluate_cross_spectral

    data = build_aligned(REAL, tmp_path / "out")
    assert (len(data), len(data.image_names), data.patches.dtype) == (39_734, 80, np.uint8)
    scene = data.image_names.index("field/0001")
    first, second = (read_image(REAL / f"field/0001_{spectrum}.jpg").pixels for spectrum in ("vis", "nir"))
    matrix = np.loadtxt(REAL / "field" / "0001_vis_to_nir.txt")
    expected = protocol_keypoints(first, matrix, second.shape)
    rows = np.flatnonzero(data.images == scene)
    assert data.positions is not None
    assert data.positions[rows[::2]].tolist() == [list(map(float, place)) for place in expected]
    truth = brute_force(second, *expected[0], matrix)
    np.testing.assert_allclose(data.patches[rows[1], 0], truth, atol=0.5 + 1e-6)

    pairs = labelled_pairs(data)
    matches = np.bincount(pairs.categories[pairs.labels]).tolist()
    assert dict(zip(pairs.names, matches, strict=True)) == dict.fromkeys(pairs.names, 2500) | {"water": 2367}
    score = evaluate_cross_spectral(data, {"rootsift": tiepoint.load("rootsift")})["rootsift"]
    published = {"field": 52.2, "forest": 2.8, "indoor": 5.6, "mountain": 49.6, "oldbuilding": 3.4, "street": 9.3,
                 "urban": 0.2, "water": 36.3}  # fmt: skip
    assert abs(100 * score.mean - 19.9) < 1
    for category, error in published.items():
        assert abs(100 * score.errors[category] - error) < 3


def test_photographs_are_turned_upright_as_everywhere(tmp_path: Path) -> None:
    """One side of the pair is stored on its side, with an EXIF orientation that says so."""
    for name in ("plain", "turned"):
        _, second = write_pair(tmp_path / name / "field", "1", 1)
    stored = Image.fromarray(np.rot90(second))  # upright once it is turned clockwise: orientation 6
    stored.getexif()[274] = 6
    stored.save(tmp_path / "turned" / "field" / "1_nir.png", exif=stored.getexif())
    built = [build_aligned(tmp_path / name, tmp_path / f"{name}-set") for name in ("plain", "turned")]
    assert len(built[0].points) > 10
    np.testing.assert_array_equal(np.asarray(built[0].patches), np.asarray(built[1].patches))
