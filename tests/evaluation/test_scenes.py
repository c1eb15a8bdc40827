from __future__ import annotations

import itertools
import json
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pycolmap
import pytest
import torch
from synthetic import SyntheticScene, colmap_project, pixel_describer

from tiepoint.cli import main
from tiepoint.data.builders.colmap import build_colmap
from tiepoint.data.noise import LEVELS, draw
from tiepoint.data.readers.colmap import ColmapProject, read_project
from tiepoint.errors import InputError
from tiepoint.evaluation import fpr95_matrix, top1
from tiepoint.evaluation.scenes import RECALLS, cut_scene, evaluate_scenes, mean_scores, widest_pairs
from tiepoint.features.extract import extract
from tiepoint.features.frames import perturb


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> SyntheticScene:
    return colmap_project(tmp_path_factory.mktemp("scene") / "plane")


def thinned(project: ColmapProject, seed: int = 0) -> ColmapProject:
    """The project with a random half of its observations, some of them twice: tracks of many lengths."""
    rng = np.random.default_rng(seed)
    images = []
    for image in project.images:
        kept = np.sort(rng.choice(len(image.points), len(image.points) // 2))
        images.append(replace(image, points=image.points[kept], keypoints=image.keypoints[kept]))
    return replace(project, images=images)


def test_colmap_reads_the_synthetic_project_as_it_was_meant(scene: SyntheticScene) -> None:
    model = pycolmap.Reconstruction(scene.directory / "sparse")
    assert (model.num_images(), model.num_points3D()) == (4, 120)
    for k, view in enumerate(scene.cameras):
        image = model.find_image_with_name(f"view{k}.png")
        np.testing.assert_allclose(image.projection_center(), view.centre, atol=1e-9)
        observed = [p for p in image.points2D if p.has_point3D()]
        assert len(observed) == 120
        for point in observed:
            projected = image.project_point(model.points3D[point.point3D_id].xyz)
            np.testing.assert_allclose(projected, point.xy, atol=1e-3)
    track = model.points3D[1].track
    assert {model.images[e.image_id].points2D[e.point2D_idx].point3D_id for e in track.elements} == {1}


def test_our_reader_finds_the_cameras_and_frames(scene: SyntheticScene) -> None:
    project = read_project(scene.directory)
    for image, view, track, frames in zip(project.images, scene.cameras, scene.tracks, scene.frames, strict=True):
        np.testing.assert_allclose(image.centre, view.centre, atol=1e-9)
        np.testing.assert_array_equal(image.points, track + 1)
        np.testing.assert_allclose(project.frames(image), frames, atol=1e-4)


def test_patches_of_one_point_look_alike(scene: SyntheticScene, tmp_path: Path) -> None:
    data = build_colmap([scene.directory], tmp_path / "set", margin=1.0)
    vectors = pixel_describer(torch.from_numpy(data.patches.astype(np.float32) / 255)).numpy()
    order = np.argsort(data.points, kind="stable")
    tracks = vectors[order].reshape(120, 4, -1)
    assert np.einsum("pd,pd->p", tracks[:, 0], tracks[:, 3]).min() > 0.8


@pytest.mark.parametrize("seed", range(3))
def test_the_widest_pair_is_the_brute_force_one(scene: SyntheticScene, seed: int) -> None:
    project = thinned(read_project(scene.directory), seed)
    positions, centres = project.positions(), [image.centre for image in project.images]
    tracks: dict[int, set[int]] = {}
    for k, image in enumerate(project.images):
        for point in image.points.tolist():
            tracks.setdefault(point, set()).add(k)

    def angle(point: int, a: int, b: int) -> float:
        u, v = centres[a] - positions[point], centres[b] - positions[point]
        return float(np.arccos(u @ v / np.linalg.norm(u) / np.linalg.norm(v)))

    pairs = widest_pairs(project, 10_000)
    assert pairs.points.tolist() == sorted(p for p, seen in tracks.items() if len(seen) >= 2)
    for point, images, rows in zip(pairs.points, pairs.images, pairs.observations, strict=True):
        expected = max(itertools.combinations(sorted(tracks[point]), 2), key=lambda pair: angle(point, *pair))
        assert tuple(images) == expected
        assert [project.images[i].points[r] for i, r in zip(images, rows, strict=True)] == [point, point]


def test_points_are_drawn_by_seed(scene: SyntheticScene) -> None:
    project = read_project(scene.directory)
    one, same, other = (widest_pairs(project, 40, seed).points for seed in (1, 1, 2))
    assert len(np.unique(one)) == 40
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_a_point_twice_in_one_image_is_no_track(scene: SyntheticScene) -> None:
    project = read_project(scene.directory)
    first = project.images[0]
    twice = replace(first, points=np.repeat(first.points[:5], 2), keypoints=np.repeat(first.keypoints[:5], 2))
    with pytest.raises(InputError, match="plane: no point is seen in two images"):
        widest_pairs(replace(project, images=[twice]), 100)
    with pytest.raises(InputError, match="no point is seen in two images"):
        widest_pairs(replace(project, images=[]), 100)


def test_patches_are_cut_as_the_protocol_says(scene: SyntheticScene) -> None:
    project = read_project(scene.directory)
    patches = cut_scene(project, ["none", "hard"], points=50, seed=3)
    pairs = widest_pairs(project, 50, 3)
    noise = draw(LEVELS["hard"], 50, torch.Generator().manual_seed(3)).numpy()
    for k in (0, 17, 49):
        (a, b), (row_a, row_b) = pairs.images[k], pairs.observations[k]
        frames = project.frames(project.images[b])[row_b : row_b + 1]
        image = project.read_image(project.images[b])
        np.testing.assert_array_equal(patches.second["none"][k], extract(image, frames)[0, 0])
        moved = perturb(frames, noise[k : k + 1].astype(np.float64))
        np.testing.assert_array_equal(patches.second["hard"][k], extract(image, moved)[0, 0])
        frames = project.frames(project.images[a])[row_a : row_a + 1]
        expected = extract(project.read_image(project.images[a]), frames)[0, 0]
        np.testing.assert_array_equal(patches.first[k], expected)
        assert patches.images[k] == b


def test_a_level_does_not_depend_on_the_others(scene: SyntheticScene) -> None:
    project = read_project(scene.directory)
    alone, among = cut_scene(project, ["hard"], 30), cut_scene(project, list(LEVELS), 30)
    np.testing.assert_array_equal(alone.second["hard"], among.second["hard"])
    assert (among.second["none"] != among.second["tough"]).any()


def test_scores_are_those_of_the_matrix(scene: SyntheticScene) -> None:
    (score,) = evaluate_scenes([scene.directory], {"pixels": pixel_describer}, levels=["hard"], points=100)
    patches = cut_scene(read_project(scene.directory), ["hard"], 100)
    first, second = (
        pixel_describer(torch.from_numpy(p.astype(np.float32) / 255)[:, None]).numpy()
        for p in (patches.first, patches.second["hard"])
    )
    similarity = first @ second.T
    assert score.points == 100
    assert score.fpr95 == pytest.approx(fpr95_matrix(similarity))
    assert score.fpr95_same_image == pytest.approx(fpr95_matrix(similarity, patches.images))
    assert score.top1 == pytest.approx(top1(similarity))
    assert score.curve[RECALLS == 0.95][0] == pytest.approx(score.fpr95)


def test_noise_makes_it_harder_and_describers_share_the_patches(scene: SyntheticScene) -> None:
    steps: list[tuple[int, int]] = []
    describers = {"pixels": pixel_describer, "again": pixel_describer}
    scores = evaluate_scenes([scene.directory], describers, progress=lambda *s: steps.append(s))
    assert [(s.model, s.level) for s in scores] == [(m, level) for m in describers for level in LEVELS]
    assert [s.numbers() | {"model": ""} for s in scores[:4]] == [s.numbers() | {"model": ""} for s in scores[4:]]
    none, easy, hard, tough = scores[:4]
    assert none.fpr95 < 0.01
    assert none.top1 > 0.95
    assert none.fpr95 <= easy.fpr95 < hard.fpr95 < tough.fpr95
    assert none.top1 >= easy.top1 > hard.top1 > tough.top1
    assert steps[-1] == (11, 11)


def test_the_mean_weighs_scenes_alike(scene: SyntheticScene, tmp_path: Path) -> None:
    second = colmap_project(tmp_path / "plane", points=60, cameras=3, seed=1)
    scores = evaluate_scenes([scene.directory, second.directory], {"pixels": pixel_describer}, levels=["tough"])
    (mean,) = mean_scores(scores)
    assert [s.scene for s in scores] == [str(scene.directory.resolve()), str(second.directory.resolve())]
    assert (mean.scene, mean.points) == ("mean", 180)
    assert mean.fpr95 == pytest.approx((scores[0].fpr95 + scores[1].fpr95) / 2)
    assert mean.top1 == pytest.approx((scores[0].top1 + scores[1].top1) / 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"levels": ["gentle"]}, "levels"),
        ({"levels": []}, "levels"),
        ({"levels": ["easy", "easy"]}, "each once"),
        ({"points": 1}, "at least 2 points"),
    ],
)
def test_wrong_arguments_are_refused(scene: SyntheticScene, change: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        evaluate_scenes([scene.directory], {"pixels": pixel_describer}, **change)  # type: ignore[arg-type]


def test_broken_projects_are_named(tmp_path: Path) -> None:
    project = colmap_project(tmp_path / "plane", points=6, cameras=3)
    describers = {"pixels": pixel_describer}
    with pytest.raises(InputError, match="given twice"):
        evaluate_scenes([project.directory, project.directory], describers)
    with pytest.raises(InputError, match=r"nowhere.* is missing"):
        evaluate_scenes([tmp_path / "nowhere"], describers)
    points = project.directory / "sparse" / "points3D.bin"
    whole = points.read_bytes()
    record = (len(whole) - 8) // 6
    points.write_bytes(struct.pack("<Q", 5) + whole[8 : 8 + 5 * record])
    with pytest.raises(InputError, match=r"points3D\.bin lacks point 6"):
        evaluate_scenes([project.directory], describers)
    points.write_bytes(whole)
    (project.directory / "images" / "view0.png").unlink()
    with pytest.raises(InputError, match=r"view0\.png: no such file"):
        evaluate_scenes([project.directory], describers)


def test_the_command(scene: SyntheticScene, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["evaluate", "scenes", str(scene.directory), "--model", "rootsift", "--levels", "none", "tough"]
    assert main([*words, "--points", "80", "--plot", str(tmp_path / "roc.svg"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["protocol"], report["seed"], report["points"]) == ("scenes", 0, 80)
    assert [(r["scene"], r["level"], r["points"]) for r in report["results"]] == [
        ("plane", "none", 80),
        ("plane", "tough", 80),
    ]
    assert 0 <= report["mean"][0]["fpr95"] <= report["mean"][1]["fpr95"] <= 1
    assert b"<svg" in (tmp_path / "roc.svg").read_bytes()
    assert main(words) == 0
    table = capsys.readouterr().out
    assert "FPR95 within the same image (%)" in table
    assert "Points: plane 120" in table
    assert main([*words, "gentle"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
