"""COLMAP databases: what pycolmap reads back, and that its mapper reconstructs from them."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from itertools import combinations
from pathlib import Path

import cv2
import numpy as np
import pytest
from exported import FOCAL, HEIGHT, WIDTH, cameras, fundamental, made_features, scene

from tiepoint.data.readers.colmap import ColmapImage, ColmapProject
from tiepoint.errors import InputError
from tiepoint.export.colmap import Camera, TwoView, verify, write_database
from tiepoint.features.frames import from_colmap
from tiepoint.geometry.epipolar import expected_by_chance, sampson_distances
from tiepoint.options import Verification

pycolmap = pytest.importorskip("pycolmap")
SCENES = Path(__file__).parents[3] / "shared" / "data" / "scenes" / "test" / "salen2"
ROWS = np.stack([np.arange(30), np.arange(30) + 5], axis=1)


def homogeneous(points: np.ndarray) -> np.ndarray:
    return np.column_stack([points, np.ones(len(points))])


@pytest.fixture
def images() -> dict:
    return {"b.jpg": made_features(30, 1), "a/c.jpg": made_features(40, 2)}


@pytest.mark.parametrize("columns", [4, 6])
def test_pycolmap_reads_back_what_was_written(columns: int, images: dict, tmp_path: Path) -> None:
    camera = Camera((120, 100), "PINHOLE", (150.0, 151.0, 60.0, 50.0), known_focal=True)
    write_database(tmp_path / "d.db", images, {("b.jpg", "a/c.jpg"): ROWS}, camera, columns=columns)
    with pycolmap.Database.open(tmp_path / "d.db") as database:
        assert {i.name: i.image_id for i in database.read_all_images()} == {"b.jpg": 1, "a/c.jpg": 2}
        (found,) = database.read_all_cameras()
        assert (found.model.name, found.width, found.height) == ("PINHOLE", 120, 100)
        assert found.has_prior_focal_length
        np.testing.assert_array_equal(found.params, camera.params)
        np.testing.assert_array_equal(database.read_matches(1, 2), ROWS)
        for number, features in enumerate(images.values(), 1):
            table = database.read_keypoints(number)
            assert table.shape == (len(features), columns)
            np.testing.assert_allclose(table[:, :2], features.points + 0.5, atol=1e-4)
            np.testing.assert_allclose(from_colmap(table), features.frames, atol=1e-4)
        assert database.num_verified_image_pairs() == 0


def test_our_own_reader_agrees(images: dict, tmp_path: Path) -> None:
    write_database(tmp_path / "database.db", images, {})
    rows = np.array([3, 39])
    image = ColmapImage(2, "a/c.jpg", np.eye(3), np.zeros(3), rows, rows)
    np.testing.assert_allclose(
        ColmapProject(tmp_path, [image]).frames(image), images["a/c.jpg"].frames[rows], atol=1e-4
    )


@pytest.mark.parametrize("flip", [False, True])
def test_geometry_holds_in_colmaps_pixels_in_either_order(flip: bool, tmp_path: Path) -> None:
    images = scene(40, 2)
    (a, first), (b, second) = images.items()
    matrix = fundamental(*cameras(2))
    assert np.abs((homogeneous(second.points) @ matrix * homogeneous(first.points)).sum(axis=1)).max() < 1e-9
    rows = np.stack([np.arange(40)] * 2, axis=1)
    turned = np.array([[0.9, -0.2, 5], [0.2, 1.1, 3], [1e-4, 0, 1]])
    key, geometry = (a, b), TwoView(rows[:20], matrix, turned)
    if flip:
        key, geometry = (b, a), TwoView(rows[:20], matrix.T, np.linalg.inv(turned))
    write_database(tmp_path / "d.db", images, {key: rows}, geometries={key: geometry})
    with pycolmap.Database.open(tmp_path / "d.db") as database:
        found = database.read_two_view_geometry(1, 2)
        one, two = (homogeneous(database.read_keypoints(k)[:, :2].astype(np.float64)) for k in (1, 2))
    assert found.config == pycolmap.TwoViewGeometryConfiguration.UNCALIBRATED
    np.testing.assert_array_equal(found.inlier_matches, rows[:20])
    assert np.abs((two @ found.F * one).sum(axis=1)).max() < 1e-6
    mapped = homogeneous(first.points) @ turned.T
    expected = mapped[:, :2] / mapped[:, 2:] + 0.5
    theirs = one @ found.H.T
    np.testing.assert_allclose(theirs[:, :2] / theirs[:, 2:], expected, atol=1e-3)


def test_a_homography_alone_is_a_planar_pair(images: dict, tmp_path: Path) -> None:
    key = ("b.jpg", "a/c.jpg")
    write_database(tmp_path / "d.db", images, {key: ROWS}, geometries={key: TwoView(ROWS, homography=np.eye(3))})
    with pycolmap.Database.open(tmp_path / "d.db") as database:
        assert database.read_two_view_geometry(1, 2).config == pycolmap.TwoViewGeometryConfiguration.PLANAR


def test_colmap_verifies_the_matches_itself(tmp_path: Path) -> None:
    images = scene(60, 2)
    a, b = images
    rows = np.stack([np.arange(60)] * 2, axis=1)
    rows[50:, 1] = np.roll(rows[50:, 1], 3)  # 10 wrong ones
    write_database(tmp_path / "d.db", images, {(b, a): rows[:, ::-1]}, Camera.guess((WIDTH, HEIGHT), FOCAL))
    (tmp_path / "pairs.txt").write_text(f"{a} {b}\n")
    pycolmap.verify_matches(tmp_path / "d.db", tmp_path / "pairs.txt")
    with pycolmap.Database.open(tmp_path / "d.db") as database:
        found = database.read_two_view_geometry(1, 2).inlier_matches
    assert 48 <= len(found) <= 53
    assert (found[:, 0] == found[:, 1]).mean() > 0.95


def reconstruct(database: Path, images: Path, out: Path, threads: int = 1) -> pycolmap.Reconstruction:
    options = pycolmap.IncrementalPipelineOptions()
    options.extract_colors = False
    options.num_threads = threads
    out.mkdir()
    models = pycolmap.incremental_mapping(database, images, out, options)
    return max(models.values(), key=lambda model: model.num_reg_images())


def test_colmaps_mapper_reconstructs_a_made_up_scene(tmp_path: Path) -> None:
    images = scene()
    rows = np.stack([np.arange(150)] * 2, axis=1)
    pairs = dict.fromkeys(combinations(images, 2), rows)
    geometries = {(a, b): verify(images[a], images[b], rows) for a, b in pairs}
    assert all(geometry is not None and len(geometry.inliers) == 150 for geometry in geometries.values())
    camera = Camera.guess((WIDTH, HEIGHT), FOCAL)
    write_database(tmp_path / "d.db", images, pairs, camera, geometries)  # type: ignore[arg-type]
    model = reconstruct(tmp_path / "d.db", tmp_path, tmp_path / "sparse")
    assert model.num_reg_images() == 4
    assert model.num_points3D() >= 140
    # The true camera is the one that was given: half a pixel of error in the keypoints' origin would show.
    assert model.compute_mean_reprojection_error() < 0.01


@pytest.mark.data
@pytest.mark.skipif(not SCENES.is_dir(), reason="../shared/data is not there")
def test_colmaps_mapper_reconstructs_a_real_scene(tmp_path: Path) -> None:
    from tiepoint.cli import main

    folder = tmp_path / "images"
    folder.mkdir()
    for path in sorted((SCENES / "images").iterdir())[:5]:
        shutil.copy(path, folder)
    arguments = [str(folder), "--out", str(tmp_path / "d.db"), "--max-keypoints", "2000", "--single-camera"]
    assert main(["export", "colmap", *arguments, "--json"]) == 0
    model = reconstruct(tmp_path / "d.db", folder, tmp_path / "sparse", threads=2)
    error = model.compute_mean_reprojection_error()
    print(f"{model.num_points3D()} points, {error:.3f} px, {next(iter(model.cameras.values()))}")
    assert model.num_reg_images() == 5
    assert model.num_points3D() > 500
    assert error < 1.5


def test_verify_finds_the_inliers_and_refuses_chance() -> None:
    images = list(scene(100, 2).values())
    rows = np.stack([np.arange(100)] * 2, axis=1)
    rows[70:, 1] = np.roll(rows[70:, 1], 7)
    found = verify(images[0], images[1], rows)
    assert found is not None
    assert {tuple(r) for r in rows[:70]} <= {tuple(r) for r in found.inliers}
    assert len(found.inliers) < 80
    assert sampson_distances(found.fundamental, images[0].points[:70], images[1].points[:70]).max() < 0.1
    assert verify(images[0], images[1], rows[:10]) is None


@pytest.mark.parametrize("count", [15, 30, 100])
def test_matches_at_random_are_not_verified(count: int) -> None:
    """As many inliers as the mapper asks for are no proof: MAGSAC++ finds them in noise."""
    rng = np.random.default_rng(count)
    rows, most = np.stack([np.arange(count)] * 2, axis=1), 0
    for _ in range(20):
        a, b = (made_features(count, points=rng.uniform(0, 120, (count, 2)), size=(120, 120)) for _ in range(2))
        assert verify(a, b, rows, Verification(min_inliers=8)) is None
        found = cv2.findFundamentalMat(a.points, b.points, cv2.USAC_MAGSAC, 3.0, 0.999, 1000)[0]
        if found is not None:
            most = max(most, int((sampson_distances(found[:3], a.points, b.points) <= 3).sum()))
    assert most >= 8


def test_chance_by_hand() -> None:
    # n = 9, k = 8, p = 1/10: 3 * 2 * 9 * 8 * 0.1; a square of side s has p = 4 * threshold / s.
    assert np.isclose(expected_by_chance(9, 8, 2.5, [(100, 100), (1000, 1000)]), 43.2)
    assert expected_by_chance(100, 90, 3.0, [(1000, 800)] * 2) < 1e-80
    assert expected_by_chance(20, 20, 1e9, [(10, 10)] * 2) > 1


def test_sampson_is_the_distance_to_first_order() -> None:
    """For rectified cameras the epipolar lines are rows: a shift of d in y is d / sqrt(2) from the joint surface."""
    rows = np.array([[0, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=float)
    a = np.array([[10.0, 20.0], [50.0, 5.0]])
    np.testing.assert_allclose(sampson_distances(rows, a, a + np.array([30, 4.0])), 4 / np.sqrt(2))


@pytest.mark.parametrize(
    ("matches", "cameras_given", "message"),
    [
        ({("b.jpg", "no.jpg"): ROWS}, None, "no.jpg must be"),
        ({("b.jpg", "b.jpg"): ROWS}, None, "two different images"),
        ({("b.jpg", "a/c.jpg"): ROWS + 6}, None, "row 24: keypoint 30, but b.jpg has 30"),
        ({("b.jpg", "a/c.jpg"): ROWS - 1}, None, "row 0: keypoint -1"),
        ({("b.jpg", "a/c.jpg"): ROWS.astype(float)}, None, "give integers"),
        ({("b.jpg", "a/c.jpg"): ROWS.ravel()}, None, "give integers"),
        ({("b.jpg", "a/c.jpg"): ROWS, ("a/c.jpg", "b.jpg"): ROWS[:, ::-1]}, None, "both orders"),
        ({}, {"b.jpg": Camera.guess((120, 100))}, "a/c.jpg: no camera given"),
        ({}, Camera.guess((100, 120)), "is 120x100 pixels, its camera 100x120"),
        ({}, Camera((120, 100), "PINHOLE", (1.0,)), "PINHOLE with 1 parameters"),
        ({}, Camera((120, 100), "LENS", (1.0,)), "camera LENS"),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_written(
    matches: dict, cameras_given: object, message: str, images: dict, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        write_database(tmp_path / "d.db", images, matches, cameras_given)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_exists_is_kept(images: dict, tmp_path: Path) -> None:
    for name in ("d.db", "e.db-wal"):
        (tmp_path / name).write_bytes(b"mine")
        with pytest.raises(InputError, match="exists already"):
            write_database(tmp_path / f"{name[0]}.db", images, {})
        assert (tmp_path / name).read_bytes() == b"mine"
    with pytest.raises(InputError, match="0 images"):
        write_database(tmp_path / "f.db", {}, {})


def test_cameras_are_shared_by_the_object_and_guessed_apart(images: dict, tmp_path: Path) -> None:
    shared = Camera.guess((120, 100), 200.0)
    for name, given, count in (("one", dict.fromkeys(images, shared), 1), ("two", None, 2)):
        write_database(tmp_path / f"{name}.db", images, {}, given)
        with closing(sqlite3.connect(tmp_path / f"{name}.db")) as database:
            rows = database.execute("SELECT params, prior_focal_length FROM cameras").fetchall()
        assert len(rows) == count
        assert [(np.frombuffer(p)[0], prior) for p, prior in rows] == [(200, 1) if given else (144, 0)] * count
