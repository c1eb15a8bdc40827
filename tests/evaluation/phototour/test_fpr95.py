from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic import pixel_describer, small_patch_set
from synthetic_phototour import LIST, phototour_set

from tiepoint.data.readers.phototour import build_phototour
from tiepoint.errors import InputError
from tiepoint.evaluation import fdr95, fpr95
from tiepoint.evaluation.phototour.fpr95 import evaluate_phototour, official_pairs, pair_labels, resizing
from tiepoint.evaluation.phototour.revisited import evaluate_revisited
from tiepoint.patches import PatchSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    return phototour_set(tmp_path_factory.mktemp("phototour") / "set", noise=40.0)


def sparse_describer(patches: torch.Tensor) -> torch.Tensor:
    """Nine single pixels, of unit length, which noise easily misleads."""
    return torch.nn.functional.normalize(patches[:, 0, 10::20, 10::20].flatten(1) - 0.5, dim=1)


def coarse_describer(patches: torch.Tensor) -> torch.Tensor:
    """Four whole numbers a patch, no unit vectors: few distinct distances, so that ties are the rule."""
    small = torch.nn.functional.interpolate(patches, size=(2, 2), mode="bilinear", antialias=True).flatten(1)
    return ((small - 0.5) * 8).round()


def released_hardnet(labels: NDArray[np.bool_], distances: NDArray[np.float64]) -> Fraction:
    """Non-matches before the first place at which 95 % of the matches are found; a non-match precedes its equals."""
    ranked = sorted(zip(distances.tolist(), labels.tolist(), strict=True))
    found, before = 0, 0
    for _, label in ranked:
        found += label
        if Fraction(found, int(labels.sum())) >= Fraction(95, 100):
            return Fraction(before, int((~labels).sum()))
        before += not label
    raise AssertionError


def brute_force(data: PatchSet, describe: Any, pairs: NDArray[np.int64]) -> tuple[Any, Any]:
    vectors = describe(torch.from_numpy(data.patches.astype(np.float32) / 255)).double().numpy()
    distances = np.array([((vectors[a] - vectors[b]) ** 2).sum() for a, b in pairs])
    return data.points[pairs[:, 0]] == data.points[pairs[:, 1]], distances


@pytest.mark.parametrize("describe", [sparse_describer, coarse_describer, lambda p: 7 * sparse_describer(p)])
def test_figures_are_those_of_the_distances(data: PatchSet, describe: Any) -> None:
    pairs = official_pairs(data)
    score = evaluate_phototour(data, {"it": describe})["it"]
    labels, distances = brute_force(data, describe, pairs)
    assert (score.pairs, score.matches) == (300, 150) == (len(labels), labels.sum())
    assert score.fpr95 == {rule: fpr95(labels, -distances, rule) for rule in ("hardnet", "hynet", "interpolate")}
    assert score.fpr95["hardnet"] == float(released_hardnet(labels, distances))
    threshold = np.sort(distances[labels])[143]  # HyNet's: the match of 0-based rank ceil(0.95 * 150)
    assert score.fpr95["hynet"] == (distances[~labels] <= threshold).mean()
    assert score.fdr95 == fdr95(labels, -distances)
    assert 0 < score.fpr95["interpolate"] <= score.fpr95["hardnet"] <= score.fpr95["hynet"] < 1
    assert score.figures() == {**{f"fpr95_{k}": v for k, v in score.fpr95.items()}, "fdr95": score.fdr95}


@settings(max_examples=100, deadline=None)
@given(seed=st.integers(0, 10_000), count=st.integers(1, 20), spread=st.floats(0.2, 3))
def test_fdr_converts_to_the_fpr_of_equal_numbers(seed: int, count: int, spread: float) -> None:
    """With P = N, a multiple of 20 and no ties: FPR = 0.95 f / (1 - f)."""
    rng = np.random.default_rng(seed)
    labels = np.repeat([True, False], 20 * count)
    scores = rng.permutation(40 * count) / (40 * count) + spread * labels * rng.random(40 * count)
    f = fdr95(labels, scores)
    assert 0.95 * f / (1 - f) == pytest.approx(fpr95(labels, scores, "hardnet"), abs=1e-12)


def test_each_patch_in_use_is_described_once(data: PatchSet) -> None:
    described: list[int] = []
    steps: list[tuple[int, int]] = []

    def counting(patches: torch.Tensor) -> torch.Tensor:
        described.append(len(patches))
        return pixel_describer(patches)

    pairs = np.array([[0, 1], [1, 2], [5, 0], [*np.flatnonzero(data.points == data.points[7])[:2]]])
    used = len(np.unique(pairs))
    describers = {"one": counting, "two": counting}
    scores = evaluate_phototour(data, describers, pairs=pairs, progress=lambda *s: steps.append(s))
    assert sum(described) == 2 * used
    assert steps == [(used, 2 * used), (2 * used, 2 * used)]
    assert scores["one"] == scores["two"]


def test_pairs_of_a_patch_with_itself_and_narrow_types_are_taken(data: PatchSet) -> None:
    pairs = np.array([[3, 3], [0, int(np.flatnonzero(data.points != data.points[0])[0])]], dtype=np.int32)
    assert evaluate_phototour(data, {"it": pixel_describer}, pairs=pairs)["it"].fpr95["hynet"] == 0


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.empty((0, 2), dtype=np.int64), "at least one pair"),
        (np.zeros((4, 3), dtype=np.int64), r"is \(4, 3\)"),
        (np.zeros((4, 2)), "float64"),
        (np.array([[0, 1], [2, 72]]), "names patch 72, the set holds 72"),
        (np.array([[0, 1], [-1, 2]]), "names patch -1"),
        (np.array([[0, 0], [1, 1]]), "holds matches alone"),
    ],
)
def test_lists_that_cannot_be_measured_are_refused_by_name(data: PatchSet, pairs: Any, message: str) -> None:
    with pytest.raises(InputError, match=f"set: its pair list.*{message}"):
        evaluate_phototour(data, {"it": pixel_describer}, pairs=pairs)


def test_non_matches_alone_are_refused(data: PatchSet) -> None:
    other = int(np.flatnonzero(data.points != data.points[0])[0])
    with pytest.raises(InputError, match="holds non-matches alone"):
        pair_labels(data, np.array([[0, other]]))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_broken_descriptors_are_named(data: PatchSet, value: float) -> None:
    with pytest.raises(InputError, match="broken: its descriptors hold NaN or infinity"):
        evaluate_phototour(data, {"broken": lambda p: torch.full((len(p), 4), value)})


def test_one_descriptor_for_all_patches_is_refused(data: PatchSet) -> None:
    with pytest.raises(InputError, match="collapsed: gives all patches one descriptor"):
        evaluate_phototour(data, {"collapsed": lambda p: torch.ones(len(p), 4)})


def test_half_precision_and_rows_of_zeros_are_measured(data: PatchSet) -> None:
    """As the release of a network in float16 gives them, and as SIFT describes flat patches."""
    pairs = official_pairs(data)

    def half(patches: torch.Tensor) -> torch.Tensor:
        vectors = sparse_describer(patches).half()
        vectors[::7] = 0
        return vectors

    labels, distances = brute_force(data, half, pairs)
    score = evaluate_phototour(data, {"it": half}, pairs=pairs)["it"]
    assert len(np.unique(pairs)) == len(data)  # so that both describe the same batch
    assert score.fpr95["hardnet"] == fpr95(labels, -distances, "hardnet") < 1


def test_a_set_without_its_list_is_told_which_verb_writes_it(tmp_path: Path) -> None:
    data = small_patch_set(tmp_path / "set")
    with pytest.raises(InputError, match=rf"pairs-{LIST}.*tiepoint data phototour") as raised:
        evaluate_phototour(data, {"it": pixel_describer})
    assert len(str(raised.value).splitlines()) == 1


def test_a_set_as_published_is_built_and_measured(tmp_path: Path, data: PatchSet) -> None:
    source, points, pairs = tmp_path / "liberty-part", data.points, official_pairs(data)
    source.mkdir()
    page = data.patches[:, 0].reshape(9, 8, 64, 64).swapaxes(1, 2).reshape(9 * 64, 8 * 64)
    cv2.imwrite(str(source / "patches0000.bmp"), page)
    (source / "info.txt").write_text("".join(f"{point} 0\n" for point in points))
    (source / "interest.txt").write_text("".join(f"{image} 0 0 0 0\n" for image in data.images))
    lines = [f"{a} {points[a]} 0 {b} {points[b]} 0 0\n" for a, b in pairs]
    (source / f"{LIST}.txt").write_text("".join(lines))
    built = build_phototour(source, tmp_path / "built")
    describers = {"it": sparse_describer}
    assert evaluate_phototour(built, describers) == evaluate_phototour(data, describers)
    assert evaluate_revisited(built, describers) == evaluate_revisited(data, describers)


class Halved:
    """A describer with an input size, which keeps what it sees."""

    input_size = 32

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, patches: torch.Tensor) -> torch.Tensor:
        self.seen.append(patches)
        return pixel_describer(patches)


def test_cv2_resizing_is_opencvs_on_the_stored_patches(data: PatchSet) -> None:
    plain, resized = Halved(), Halved()
    pairs = official_pairs(data)
    evaluate_phototour(data, {"it": plain}, pairs=pairs)
    evaluate_phototour(data, {"it": resized}, pairs=pairs, resize="cv2")
    rows = np.unique(pairs)
    assert plain.seen[0].shape == (len(rows), 1, 64, 64)  # the describer resizes for itself
    expected = [cv2.resize(data.patches[row, 0], (32, 32), interpolation=cv2.INTER_LINEAR) for row in rows]
    np.testing.assert_array_equal(torch.cat(resized.seen)[:, 0].numpy(), np.float32(expected) / 255)
    antialiased = torch.nn.functional.interpolate(plain.seen[0], size=(32, 32), mode="bilinear", antialias=True)
    assert (torch.cat(resized.seen) - antialiased).abs().max() > 0.02


def test_describers_without_an_input_size_see_patches_whole() -> None:
    assert resizing(pixel_describer, "cv2") is pixel_describer
    with pytest.raises(InputError, match="resize 'area': there are antialias, cv2"):
        resizing(pixel_describer, "area")  # type: ignore[arg-type]
