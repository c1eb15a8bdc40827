from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from cross_set import Correlation, cross_set
from numpy.typing import NDArray
from scipy.interpolate import interp1d
from sklearn.metrics import average_precision_score, roc_curve
from synthetic import pixel_describer, small_patch_set
from torch import Tensor

from tiepoint.data.crop import central_crop
from tiepoint.data.labelled_pairs import labelled_pairs
from tiepoint.errors import InputError
from tiepoint.evaluation import cross_spectral
from tiepoint.evaluation.calibration import expected_calibration_error
from tiepoint.evaluation.cross_spectral import RULES, evaluate_cross_spectral, luma
from tiepoint.evaluation.metrics import fdr95, fpr95
from tiepoint.patches import PatchSet


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    """Two categories of 24 points, noisy enough for errors."""
    return cross_set(tmp_path_factory.mktemp("cross") / "set", noise=60.0)


def as_unit(patch_set: PatchSet, rows: NDArray[np.int64]) -> Tensor:
    return torch.from_numpy(patch_set.patches[rows].astype(np.float32) / np.iinfo(patch_set.patches.dtype).max)


def published(labels: NDArray[np.bool_], scores: NDArray[np.float32]) -> float:
    """The measure of the released code of RRL-Net."""
    fpr, tpr, _ = roc_curve(labels, scores)
    return float(interp1d(tpr, fpr)(0.95))


def test_figures_are_those_of_scikit_learn_by_category(data: PatchSet) -> None:
    models: dict[str, Any] = {"pixels": pixel_describer, "relater": Correlation()}
    found = evaluate_cross_spectral(data, models, count=23, seed=3)
    pairs = labelled_pairs(data, 23, 3)  # of 20, a curve may be flat at 0.95, where scipy's answer is arbitrary
    vectors = pixel_describer(as_unit(data, np.arange(len(data))))
    expected = {
        "pixels": -(vectors[pairs.first] - vectors[pairs.second]).norm(dim=1).numpy(),
        "relater": Correlation().logits(as_unit(data, pairs.first), as_unit(data, pairs.second)).numpy(),
    }
    for name, scores in expected.items():
        score = found[name]
        np.testing.assert_allclose(score.scores, scores, atol=1e-5)
        np.testing.assert_array_equal(score.pairs.labels, pairs.labels)
        by_category = {
            category: published(pairs.labels[pairs.categories == k], score.scores[pairs.categories == k])
            for k, category in enumerate(["field", "urban"])
        }
        assert score.errors == pytest.approx(by_category)
        assert 0 < score.mean < 0.9
        assert score.mean == pytest.approx(sum(by_category.values()) / 2)
        assert score.average_precision == pytest.approx(average_precision_score(pairs.labels, score.scores))


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_is_the_metric_of_its_name(data: PatchSet, rule: Any) -> None:
    score = evaluate_cross_spectral(data, {"relater": Correlation()}, rule=rule)["relater"]
    labels, scores = (values[score.pairs.categories == 1] for values in (score.pairs.labels, score.scores))
    expected = fdr95(labels, scores) if rule == "fdr" else fpr95(labels, scores, rule)
    assert score.errors["urban"] == expected
    assert next(iter(score.numbers())) == ("fdr95" if rule == "fdr" else "fpr95")


def test_numbers_are_plain_and_state_the_pairs(data: PatchSet) -> None:
    numbers = evaluate_cross_spectral(data, {"a": Correlation(), "b": pixel_describer}, count=7)["a"].numbers()
    assert numbers["pairs"] == {name: {"matches": 7, "non_matches": 7} for name in ("field", "urban")}
    assert {type(v) for v in numbers.values()} == {dict, float}


def test_relaters_state_their_calibration_and_describers_none(data: PatchSet) -> None:
    found = evaluate_cross_spectral(data, {"a": Correlation(temperature=3.0), "b": pixel_describer})
    score = found["a"]
    labels, logits = score.pairs.labels, score.scores.astype(np.float64)
    assert score.temperature == 3.0
    assert score.ece_uncalibrated == pytest.approx(expected_calibration_error(labels, 1 / (1 + np.exp(-logits))))
    assert score.ece == pytest.approx(expected_calibration_error(labels, 1 / (1 + np.exp(-logits / 3))))
    assert score.ece != score.ece_uncalibrated
    np.testing.assert_allclose(score.probabilities, 1 / (1 + np.exp(-logits / 3)), rtol=1e-5)
    assert found["b"].probabilities is None
    assert "ece" not in found["b"].numbers()


def test_each_patch_is_described_once_and_each_pair_related_once(
    data: PatchSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cross_spectral, "BATCH", 32)
    monkeypatch.setattr("tiepoint.evaluation.verification.BATCH", 32)
    described: list[int] = []

    def counting(patches: Tensor) -> Tensor:
        described.append(len(patches))
        return pixel_describer(patches)

    steps: list[tuple[int, int]] = []
    relater = Correlation()
    evaluate_cross_spectral(data, {"d": counting, "r": relater}, progress=lambda *step: steps.append(step))
    pairs = labelled_pairs(data)
    rows = len(np.unique([pairs.first, pairs.second]))
    assert sum(described) == rows
    assert max(described) == 32
    assert sum(len(first) for first, _ in relater.seen) == len(pairs)
    assert max(len(first) for first, _ in relater.seen) == 32
    assert steps[-1] == (rows + len(pairs), rows + len(pairs))
    assert [done for done, _ in steps] == sorted({done for done, _ in steps})


def test_a_margin_is_cropped_away_and_sixteen_bits_keep_their_range(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", margin=1.5, dtype=np.uint16)
    relater = Correlation()
    evaluate_cross_spectral(data, {"r": relater})
    first, second = (torch.cat(side) for side in zip(*relater.seen, strict=True))
    pairs = labelled_pairs(data)
    torch.testing.assert_close(first, central_crop(as_unit(data, pairs.first), 1.5))
    torch.testing.assert_close(second, central_crop(as_unit(data, pairs.second), 1.5))


def test_describers_see_rgb_as_luma_and_relaters_as_it_is(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", channels=3)
    seen: list[Tensor] = []

    def keeping(patches: Tensor) -> Tensor:
        seen.append(patches)
        return pixel_describer(patches)

    relater = Correlation()
    evaluate_cross_spectral(data, {"d": keeping, "r": relater})
    stored = as_unit(data, np.unique(np.concatenate([labelled_pairs(data).first, labelled_pairs(data).second])))
    red, green, blue = stored.unbind(dim=1)
    torch.testing.assert_close(torch.cat(seen), (0.299 * red + 0.587 * green + 0.114 * blue)[:, None])
    assert relater.seen[0][0].shape[1] == 3
    assert luma(torch.ones(2, 3, 4, 4)).allclose(torch.ones(2, 1, 4, 4))


def test_the_pairs_of_the_set_itself_come_first(tmp_path: Path) -> None:
    own = [(0, 1, 1), (2, 3, 1), (0, 3, 0), (24, 25, 1), (24, 27, 0), (26, 25, 0)]
    data = cross_set(tmp_path / "set", ("field/0", "urban/0"), pairs=own)
    score = evaluate_cross_spectral(data, {"r": Correlation()}, count=1)["r"]
    rows = np.stack([score.pairs.first, score.pairs.second, score.pairs.labels], axis=1)
    np.testing.assert_array_equal(rows, own)
    assert score.numbers()["pairs"]["field"] == {"matches": 2, "non_matches": 1}


def test_a_relater_of_other_spectra_is_refused_unless_any_will_do(data: PatchSet) -> None:
    relater = Correlation(spectra=("opt", "sar"))
    with pytest.raises(InputError, match=r"r: relates opt and sar, but .*set holds vis and nir: .*--any-spectra"):
        evaluate_cross_spectral(data, {"pixels": pixel_describer, "r": relater})
    assert not relater.seen
    found = evaluate_cross_spectral(data, {"r": relater}, any_spectra=True)["r"]
    np.testing.assert_array_equal(found.scores, evaluate_cross_spectral(data, {"r": Correlation()})["r"].scores)


@pytest.mark.parametrize("any_spectra", [False, True])
def test_patches_take_the_places_of_their_spectra(tmp_path: Path, any_spectra: bool) -> None:
    data = cross_set(tmp_path / "set", spectra=("nir", "vis"))
    relater = Correlation(spectra=("vis", "nir"))
    evaluate_cross_spectral(data, {"r": relater}, any_spectra=any_spectra)
    pairs = labelled_pairs(data)
    torch.testing.assert_close(torch.cat([first for first, _ in relater.seen]), as_unit(data, pairs.second))
    torch.testing.assert_close(torch.cat([second for _, second in relater.seen]), as_unit(data, pairs.first))


def test_relaters_need_no_gradients(data: PatchSet) -> None:
    class Learning(Correlation):
        weight = torch.nn.Parameter(torch.ones(1))

        def logits(self, first: Tensor, second: Tensor) -> Tensor:
            return self.weight * super().logits(first, second)

    assert evaluate_cross_spectral(data, {"r": Learning()})["r"].mean < 0.9


def test_broken_scores_are_named(data: PatchSet) -> None:
    class Broken(Correlation):
        def logits(self, first: Tensor, second: Tensor) -> Tensor:
            return torch.where(torch.arange(len(first)) % 2 == 0, torch.nan, super().logits(first, second))

    class Wide(Correlation):
        def logits(self, first: Tensor, second: Tensor) -> Tensor:
            return super().logits(first, second)[:, None]

    with pytest.raises(InputError, match="odd: 48 of 96 scores are NaN"):
        evaluate_cross_spectral(data, {"odd": Broken()})
    with pytest.raises(InputError, match=r"wide: gives \(96, 1\) for 96 pairs: must give \(96,\)"):
        evaluate_cross_spectral(data, {"wide": Wide()})
    with pytest.raises(InputError, match="nan: its descriptors hold NaN"):
        evaluate_cross_spectral(data, {"nan": lambda p: torch.full((len(p), 4), torch.nan)})
    with pytest.raises(InputError, match="flat: gives all patches one descriptor"):
        evaluate_cross_spectral(data, {"flat": lambda p: torch.ones(len(p), 4)})


def test_sets_that_cannot_be_measured_are_refused(tmp_path: Path, data: PatchSet) -> None:
    with pytest.raises(InputError, match="rule 'best': there are interpolate, hardnet, hynet, nearest, fdr"):
        evaluate_cross_spectral(data, {"r": Correlation()}, rule="best")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="count is 0"):
        evaluate_cross_spectral(data, {"r": Correlation()}, count=0)
    with pytest.raises(InputError, match=r"one-spectrum.*exactly two"):
        evaluate_cross_spectral(small_patch_set(tmp_path / "one-spectrum"), {"r": Correlation()})
    with pytest.raises(InputError, match="category urban has no point far enough"):
        evaluate_cross_spectral(cross_set(tmp_path / "lone", ("urban/0",), 1), {"r": Correlation()})
    matches = [(0, 1, 1), (2, 3, 1), (0, 3, 0), (24, 25, 1)]
    one_class = cross_set(tmp_path / "one-class", ("field/0", "urban/0"), pairs=matches)
    with pytest.raises(InputError, match="one-class: category urban has 1 matches and 0 non-matches"):
        evaluate_cross_spectral(one_class, {"r": Correlation()})


def test_a_category_without_pairs_is_refused(data: PatchSet, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = labelled_pairs(data)
    pairs.names.append("water")
    monkeypatch.setattr(cross_spectral, "labelled_pairs", lambda *_: pairs)
    with pytest.raises(InputError, match="category water has 0 matches and 0 non-matches"):
        evaluate_cross_spectral(data, {"r": Correlation()})


def test_labels_that_are_neither_0_nor_1_are_refused(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", pairs=[(0, 1, 1), (0, 3, 0)])
    path = data.directory / "pairs.npy"
    pairs = np.load(path)
    pairs[1, 2] = 2
    np.save(path, pairs)
    with pytest.raises(InputError, match=r"pair 1 is \[0, 3, 2\]"):
        evaluate_cross_spectral(PatchSet.open(data.directory), {"r": Correlation()})
