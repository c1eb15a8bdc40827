from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from synthetic import pixel_describer, small_patch_set

from tiepoint.cli import main
from tiepoint.data.crop import central_crop
from tiepoint.errors import InputError
from tiepoint.evaluation.verification import Pairs, draw_pairs, evaluate_pairs
from tiepoint.patches import PatchSet


def from_ids(directory: Path, points: list[int], images: list[int], dtype: type = np.uint8) -> PatchSet:
    rng = np.random.default_rng(0)
    with PatchSet.create(directory, len(points), dtype=dtype) as writer:
        writer.patches[:] = rng.integers(0, np.iinfo(dtype).max, writer.patches.shape)
        writer.points[:], writer.images[:], writer.spectra[:] = points, images, 0
        writer.image_names += [f"{k}.png" for k in range(max(images) + 1)]
    return PatchSet.open(directory)


def check(data: PatchSet, pairs: Pairs) -> None:
    points, images = data.points, data.images
    assert (pairs.first != pairs.second).all()
    assert (points[pairs.first] == points[pairs.second]).all()
    for kind, rows in pairs.negatives.items():
        kept = rows >= 0
        assert (points[rows[kept]] != points[pairs.first[kept]]).all(), kind
    near = pairs.negatives["same-image"]
    assert (images[near[near >= 0]] == images[pairs.second[near >= 0]]).all()


@pytest.mark.parametrize("seed", range(5))
def test_pairs_are_what_they_claim_on_uneven_sets(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.integers(0, 25, 60) * 7 - 3
    images = rng.integers(0, 8, 60)
    data = from_ids(tmp_path / "set", points.tolist(), images.tolist())
    pairs = draw_pairs(data, 200, seed)
    assert len(pairs.first) == 200
    assert (pairs.negatives["random"] >= 0).all()
    check(data, pairs)
    for second, near in zip(pairs.second, pairs.negatives["same-image"], strict=True):
        others = (images == images[second]) & (points != points[second])
        assert (near >= 0) == others.any()


def test_points_come_once_before_any_again_and_single_ones_never(tmp_path: Path) -> None:
    data = from_ids(tmp_path / "set", [0, 0, 1, 1, 1, 2, 3, 3, 4], [0] * 9)
    drawn = data.points[draw_pairs(data, 6, 1).first]
    assert sorted(drawn[:3]) == sorted(drawn[3:]) == [0, 1, 3]


def test_every_choice_occurs_about_as_often(tmp_path: Path) -> None:
    data = from_ids(tmp_path / "set", [0, 0, 0, 1, 1, 2], [0, 1, 0, 1, 0, 1])
    pairs = draw_pairs(data, 6000, 0)
    of_0 = data.points[pairs.first] == 0
    couples = np.unique(np.stack([pairs.first[of_0], pairs.second[of_0]], 1), axis=0, return_counts=True)[1]
    assert len(couples) == 6
    assert couples.min() > 400  # of 500 expected
    others, counts = np.unique(pairs.negatives["random"][of_0], return_counts=True)
    assert others.tolist() == [3, 4, 5]
    assert counts.min() > 900  # of 1000 expected


def test_a_seed_fixes_the_pairs(tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set")
    one, same, other = draw_pairs(data, 50, 3), draw_pairs(data, 50, 3), draw_pairs(data, 50, 4)
    np.testing.assert_array_equal(one.first, same.first)
    np.testing.assert_array_equal(one.negatives["random"], same.negatives["random"])
    assert (one.first != other.first).any()


def test_what_gives_no_pairs_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"once.*no point occurs twice"):
        draw_pairs(from_ids(tmp_path / "once", [0, 1, 2], [0, 0, 0]), 5)
    with pytest.raises(InputError, match=r"lone.*only one point"):
        draw_pairs(from_ids(tmp_path / "lone", [4, 4, 4], [0, 1, 2]), 5)
    with pytest.raises(InputError, match="count is 0"):
        draw_pairs(small_patch_set(tmp_path / "set"), 0)


def test_each_patch_is_described_once_and_the_figures_follow(tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set", points=30, per_point=4, noise=60.0)
    described: list[int] = []
    steps: list[tuple[int, int]] = []

    def counting(patches: torch.Tensor) -> torch.Tensor:
        described.append(len(patches))
        assert patches.dtype == torch.float32
        assert patches.shape[1:] == (1, 64, 64)
        return pixel_describer(patches)

    results = evaluate_pairs(data, {"pixels": counting}, count=300, progress=lambda *s: steps.append(s))
    pairs = draw_pairs(data, 300)
    used = np.unique(np.concatenate([pairs.first, pairs.second, *pairs.negatives.values()]))
    assert sum(described) == len(used)
    assert steps[-1] == (len(used), len(used))
    vectors = pixel_describer(torch.from_numpy(data.patches.astype(np.float32) / 255)).numpy()
    for kind, rows in pairs.negatives.items():
        result = results["pixels"][kind]
        seconds = np.concatenate([pairs.second, rows])
        expected = (vectors[np.tile(pairs.first, 2)] * vectors[seconds]).sum(axis=1)
        np.testing.assert_allclose(result.scores, expected, atol=1e-5)
        assert result.pairs == 300
        assert result.labels.sum() == 300
        assert result.roc_auc == pytest.approx(roc_auc_score(result.labels, expected), abs=1e-3)
        assert result.fpr95 < 0.2


def test_a_margin_is_cropped_away_before_describing(tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set", margin=1.75)
    seen: list[torch.Tensor] = []

    def keeping(patches: torch.Tensor) -> torch.Tensor:
        seen.append(patches)
        return pixel_describer(patches)

    evaluate_pairs(data, {"pixels": keeping}, count=500)
    whole = torch.from_numpy(data.patches.astype(np.float32) / 255)
    torch.testing.assert_close(torch.cat(seen), central_crop(whole, 1.75))


def test_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    data = from_ids(tmp_path / "set", [0, 0, 1, 1], [0, 1, 0, 1], np.uint16)
    seen: list[torch.Tensor] = []

    def keeping(patches: torch.Tensor) -> torch.Tensor:
        seen.append(patches)
        return pixel_describer(patches)

    evaluate_pairs(data, {"pixels": keeping}, count=20)
    expected = data.patches.astype(np.float32) / 65535
    np.testing.assert_allclose(torch.cat(seen).numpy(), expected, atol=1e-6)


def test_without_neighbours_in_an_image_only_random_non_matches_count(tmp_path: Path) -> None:
    data = from_ids(tmp_path / "set", [0, 0, 1, 1], [0, 1, 2, 3])
    assert list(evaluate_pairs(data, {"pixels": pixel_describer}, count=10)["pixels"]) == ["random"]


def test_broken_descriptors_are_named(tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set")
    with pytest.raises(InputError, match="broken: its descriptors hold NaN"):
        evaluate_pairs(data, {"broken": lambda p: torch.full((len(p), 8), torch.nan)}, count=10)


@pytest.mark.parametrize("shape", [lambda v: v[:, :, None], lambda v: v[1:], lambda v: v[:, 0]])
def test_descriptors_of_another_shape_are_refused(
    tmp_path: Path, shape: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    data = small_patch_set(tmp_path / "set", points=6, per_point=2)
    with pytest.raises(InputError, match=r"odd: gives \(.*\) for 12 patches: must give \(12, dimension\)"):
        evaluate_pairs(data, {"odd": lambda p: shape(pixel_describer(p))}, count=50)


def test_a_network_that_still_learns_is_measured(tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set", points=6, per_point=2)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64 * 64, 8))
    assert evaluate_pairs(data, {"net": network}, count=10)["net"]["random"].pairs == 10


def test_the_command_prints_one_json_object_and_draws(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small_patch_set(tmp_path / "set", margin=1.5)
    words = ["evaluate", "verification", str(tmp_path / "set"), "--model", "rootsift", "sift", "--count", "40"]
    assert main([*words, "--seed", "5", "--plot", str(tmp_path / "roc.png"), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["models"] == ["rootsift", "sift"]
    assert (report["protocol"], report["seed"], report["count"]) == ("verification", 5, 40)
    assert report["results"]["rootsift"]["same-image"]["fpr95"] < 0.2
    assert (tmp_path / "roc.png").read_bytes().startswith(b"\x89PNG")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    assert main(words) == 0
    assert "FPR95 %" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = small_patch_set(tmp_path / "set")
    words = ["evaluate", "verification", str(tmp_path / "set"), "--model", "sift"]
    assert main([*words, "--plot", str(tmp_path / "roc.txt")]) == 2
    assert "roc.txt: no figure has this suffix" in capsys.readouterr().err
    with (data.directory / "points.npy").open("r+b") as file:
        file.seek(-8, 2)
        file.write(b"\x01")
    assert main(words) == 2
    complaint = capsys.readouterr().err
    assert "points.npy: content hash differs" in complaint
    assert len(complaint.splitlines()) == 1
