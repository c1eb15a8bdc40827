"""The protocol of cross-spectral patch matching: labelled pairs of two spectra, the error at 95 % recall by category.

Relaters score each pair by its logit, describers by the distance of two descriptors, on the same pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tiepoint.data.crop import central_crop
from tiepoint.data.labelled_pairs import LabelledPairs, labelled_pairs
from tiepoint.errors import InputError
from tiepoint.evaluation.calibration import expected_calibration_error, sigmoid
from tiepoint.evaluation.distances import constant_error, is_constant, pair_distances
from tiepoint.evaluation.metrics import average_precision, fdr95, fpr95
from tiepoint.evaluation.options import CrossRule, CrossSpectralOptions
from tiepoint.evaluation.verification import BATCH, Describe, as_float, describe_rows, shifted
from tiepoint.nets.inputs import luma
from tiepoint.options import override
from tiepoint.patches import PatchSet
from tiepoint.types import Progress

if TYPE_CHECKING:
    from typing_extensions import TypeIs

RULES: tuple[CrossRule, ...] = get_args(CrossRule)


class PairModel(Protocol):
    """What this protocol asks of a relater; `tiepoint.models.relater.LearnedRelater` offers more."""

    spectra: Sequence[str]
    temperature: float

    def logits(self, first: Tensor, second: Tensor) -> Tensor:
        """Patches of the first and of the second spectrum, each (N, C, S, S) float in 0..1 -> match logits (N,)."""
        ...


Model = Describe | PairModel


@dataclass(frozen=True)
class CrossScore:
    """One model on the pairs of a set; rates in 0..1."""

    rule: CrossRule
    errors: dict[str, float]  # category -> error at 95 % recall
    average_precision: float  # of all pairs together
    pairs: LabelledPairs = field(repr=False)
    scores: NDArray[np.float32] = field(repr=False)  # (M,) logits, or minus the L2 distances of descriptors
    temperature: float | None = None  # of relaters alone, as the next two
    ece: float | None = None  # calibration error of sigmoid(logit / temperature)
    ece_uncalibrated: float | None = None  # of sigmoid(logit)

    @property
    def mean(self) -> float:
        """Mean error over the categories: each weighs the same."""
        return float(np.mean(list(self.errors.values())))

    @property
    def figure(self) -> str:
        """What the errors are: "fpr95", or by the rule "fdr" "fdr95"."""
        return "fdr95" if self.rule == "fdr" else "fpr95"

    @property
    def probabilities(self) -> NDArray[np.float64] | None:
        """Match probabilities (M,) of a relater; None of a describer."""
        return None if self.temperature is None else sigmoid(self.scores / self.temperature)

    def numbers(self) -> dict[str, Any]:
        """The figures without the arrays; those of calibration where there are any."""
        pairs = {name: {"matches": n, "non_matches": m} for name, (n, m) in count_pairs(self.pairs).items()}
        precision = self.average_precision
        figures = {self.figure: self.errors, "mean": self.mean, "average_precision": precision, "pairs": pairs}
        if self.temperature is None:
            return figures
        return figures | {n: getattr(self, n) for n in ("temperature", "ece", "ece_uncalibrated")}


def evaluate_cross_spectral(
    patch_set: PatchSet,
    models: Mapping[str, Model],
    options: CrossSpectralOptions | None = None,
    *,
    progress: Progress | None = None,
    **flat: Any,
) -> dict[str, CrossScore]:
    """Measure relaters and describers on the same pairs of a set of two spectra.

    The pairs are the set's own where it defines any, else seeded ones, see
    `tiepoint.data.labelled_pairs.labelled_pairs`. A describer sees every patch once, in grey; a relater sees pairs as
    they are stored. Both see the central crop that undoes the set's margin. Patches are read BATCH at a time.
    Descriptors are compared by L2 distance.

    `flat` are fields that win over `options`. `progress` is called with (steps done, steps in all): a patch described
    or a pair related is one. Returns the score of each model by name, the categories in the order of their names.

    Raises InputError for no set of two spectra, a category without matches or without non-matches, an unknown rule, a
    relater of other spectra, scores that are NaN, or a describer that returns NaN or one descriptor for all patches.
    """
    how = override(options or CrossSpectralOptions(), flat)
    if how.rule not in RULES:
        raise InputError(f"rule {how.rule!r}: there are {', '.join(RULES)}")
    pairs = labelled_pairs(patch_set, how.count, how.seed)
    for category, (matches, others) in count_pairs(pairs).items():
        if not matches or not others:
            found = f"category {category} has {matches} matches and {others} non-matches"
            raise InputError(f"{patch_set.directory}: {found}: the error at 95 % recall needs both")
    stored = patch_set.manifest["spectra"]
    for name, model in models.items():
        if is_relater(model) and not how.any_spectra and sorted(model.spectra) != sorted(stored):
            related, held = (" and ".join(spectra) for spectra in (model.spectra, stored))
            remedy = "give a set of its spectra, or any_spectra (--any-spectra) to relate them all the same"
            raise InputError(f"{name}: relates {related}, but {patch_set.directory} holds {held}: {remedy}")
    rows = np.unique(np.concatenate([pairs.first, pairs.second]))
    total = sum(len(pairs) if is_relater(model) else len(rows) for model in models.values())
    results: dict[str, CrossScore] = {}
    done = 0
    for name, model in models.items():
        step = shifted(progress, done, total)
        if is_relater(model):
            scores = _relate(patch_set, pairs, name, model, step)
            done += len(pairs)
        else:
            vectors = describe_rows(patch_set, rows, name, _of_luma(model), step)
            if is_constant(vectors):
                raise constant_error(name)
            first, second = (np.searchsorted(rows, side) for side in (pairs.first, pairs.second))
            scores = -pair_distances(vectors, first, vectors, second).astype(np.float32)
            done += len(rows)
        results[name] = _score(model, pairs, scores, how.rule)
    return results


def is_relater(model: Model) -> TypeIs[PairModel]:
    """Whether a model scores pairs rather than describing patches: it has `logits`."""
    return hasattr(model, "logits")


def count_pairs(pairs: LabelledPairs) -> dict[str, tuple[int, int]]:
    """Number of matches and of non-matches of each category."""
    tally = np.zeros((2, len(pairs.names)), dtype=np.int64)
    np.add.at(tally, (pairs.labels.astype(np.int64), pairs.categories), 1)
    return {name: (int(tally[1, k]), int(tally[0, k])) for k, name in enumerate(pairs.names)}


def read_patches(patch_set: PatchSet, rows: NDArray[np.int64]) -> Tensor:
    """Stored patches (N, C, 64, 64), float32 in 0..1, after the central crop that undoes the set's margin."""
    return central_crop(as_float(np.asarray(patch_set.patches[rows])), patch_set.margin)


def _relate(
    patch_set: PatchSet, pairs: LabelledPairs, name: str, model: PairModel, step: Callable[[int], None] | None
) -> NDArray[np.float32]:
    # A relater knows its slots by name, so a set of the same two spectra in the other order is swapped.
    swapped = tuple(model.spectra) == tuple(reversed(patch_set.manifest["spectra"]))
    sides = (pairs.second, pairs.first) if swapped else (pairs.first, pairs.second)
    scores = np.empty(len(pairs), dtype=np.float32)
    for start in range(0, len(pairs), BATCH):
        part = slice(start, start + BATCH)
        first, second = (read_patches(patch_set, rows[part]) for rows in sides)
        with torch.inference_mode():
            logits = model.logits(first, second).cpu().float()
        if logits.shape != (len(first),):
            raise InputError(f"{name}: gives {tuple(logits.shape)} for {len(first)} pairs: must give ({len(first)},)")
        wrong = int(torch.isnan(logits).sum())
        if wrong:
            raise InputError(f"{name}: {wrong} of {len(first)} scores are NaN: its weights are broken")
        scores[part] = logits.numpy()
        if step:
            step(min(start + BATCH, len(pairs)))
    return scores


def _of_luma(describe: Describe) -> Describe:
    return lambda patches: describe(luma(patches))


def _score(model: Model, pairs: LabelledPairs, scores: NDArray[np.float32], rule: CrossRule) -> CrossScore:
    errors = {}
    for number, category in enumerate(pairs.names):
        of_it = pairs.categories == number
        labels, values = pairs.labels[of_it], scores[of_it]
        errors[category] = fdr95(labels, values) if rule == "fdr" else fpr95(labels, values, rule)
    precision = average_precision(pairs.labels, scores)
    if not is_relater(model):
        return CrossScore(rule, errors, precision, pairs, scores)
    temperature = float(model.temperature)
    before, after = (expected_calibration_error(pairs.labels, sigmoid(scores / t)) for t in (1.0, temperature))
    return CrossScore(rule, errors, precision, pairs, scores, temperature, after, before)
