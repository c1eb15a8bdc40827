"""A page of the worst pairs of a model: its most confident false matches, and the matches that it misses most."""

from collections.abc import Mapping
from html import escape

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.evaluation.cross_spectral import CrossScore, read_patches
from tiepoint.files import GENERATOR
from tiepoint.images.data_url import data_url
from tiepoint.images.pixels import to_uint8
from tiepoint.names import printable
from tiepoint.patches import PatchSet

STYLE = """
body { font-family: system-ui, sans-serif; margin: 2em; color: #222; background: #fff; }
.pairs { display: flex; flex-wrap: wrap; gap: 1.2em; }
figure { margin: 0; width: 390px; }
img { width: 192px; height: 192px; image-rendering: pixelated; margin-right: 3px; background: #ddd; }
figcaption { font-size: 0.8em; line-height: 1.35; overflow-wrap: anywhere; }
"""


def failures_page(patch_set: PatchSet, scores: Mapping[str, CrossScore], count: int = 24) -> str:
    """A page of HTML that needs no other file: the `count` worst false matches and worst misses of each model.

    False matches are the non-matches of highest score, misses the matches of lowest score; ties keep the order of the
    pairs. Patches are shown as the model saw them, three times as wide as stored, the first spectrum on the left.
    16-bit patches are stretched, by the same range within one list and spectrum. Only patches that are shown are read.
    `scores` are what `tiepoint.evaluation.cross_spectral.evaluate_cross_spectral` returned of the patch set, by model.
    Raises InputError for a count below 1.
    """
    if count < 1:
        raise InputError(f"count is {count}: give at least 1")
    title = escape(printable(f"Worst pairs of {patch_set.directory.resolve().name}"))
    spectra = " left, ".join(patch_set.manifest["spectra"]) + " right"
    parts = [
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">',
        f'<meta name="generator" content="{GENERATOR}">',
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>",
        f"<p>In each pair, {escape(spectra)}. The higher the score, the more alike the model finds two patches.</p>",
    ]
    for name, score in scores.items():
        wrong, missed = worst_pairs(score, count)
        labels = score.pairs.labels
        parts += [
            f"<h2>{escape(printable(name))}</h2>\n<p>Mean {score.figure.upper()} {100 * score.mean:.2f} %.</p>",
            f"<h3>Worst false matches: {len(wrong)} of {int((~labels).sum()):,} non-matches, highest score first</h3>",
            _figures(patch_set, score, wrong),
            f"<h3>Worst misses: {len(missed)} of {int(labels.sum()):,} matches, lowest score first</h3>",
            _figures(patch_set, score, missed),
        ]
    return "\n".join([*parts, "</body>\n</html>\n"])


def worst_pairs(score: CrossScore, count: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indices of the `count` non-matches of highest score and of the `count` matches of lowest score, worst first."""
    others, matches = np.flatnonzero(~score.pairs.labels), np.flatnonzero(score.pairs.labels)
    wrong = others[np.argsort(-score.scores[others], kind="stable")[:count]]
    return wrong, matches[np.argsort(score.scores[matches], kind="stable")[:count]]


def _figures(patch_set: PatchSet, score: CrossScore, chosen: NDArray[np.int64]) -> str:
    sides = [_pictures(patch_set, rows[chosen]) for rows in (score.pairs.first, score.pairs.second)]
    figures = []
    for index, *pictures in zip(chosen.tolist(), *sides, strict=True):
        images = "".join(f'<img alt="{escape(alt)}" src="{data}">' for alt, data in pictures)
        lines = "<br>".join(escape(printable(line)) for line in _caption(patch_set, score, index))
        figures.append(f"<figure>{images}<figcaption>{lines}</figcaption></figure>")
    return '<div class="pairs">\n' + "\n".join(figures) + "\n</div>"


def _caption(patch_set: PatchSet, score: CrossScore, index: int) -> list[str]:
    value, probabilities = f"{score.scores[index]:.3f}", score.probabilities
    numbers = f"score {value}" if probabilities is None else f"probability {probabilities[index]:.4f}, logit {value}"
    pairs = score.pairs
    rows = (int(pairs.first[index]), int(pairs.second[index]))
    scenes = [patch_set.image_names[patch_set.images[row]] for row in rows]
    lines = [numbers, f"category {pairs.names[pairs.categories[index]]}", f"scene {' | '.join(dict.fromkeys(scenes))}"]
    if patch_set.positions is not None:
        positions = [f"({x:g}, {y:g})" for x, y in patch_set.positions[list(rows)].tolist()]
        lines.append(f"at {' | '.join(dict.fromkeys(positions))} px")
    return [*lines, f"rows {rows[0]}, {rows[1]}"]


def _pictures(patch_set: PatchSet, rows: NDArray[np.int64]) -> list[tuple[str, str]]:
    """The spectrum and a PNG as a data URL of each patch."""
    planes = slice(None) if patch_set.patches.shape[1] == 3 else slice(1)
    patches = read_patches(patch_set, rows)[:, planes].numpy()
    levels = to_uint8(patches) if patch_set.patches.dtype == np.uint16 else np.rint(255 * patches).astype(np.uint8)
    spectra = [patch_set.manifest["spectra"][spectrum] for spectrum in patch_set.spectra[rows]]
    images = (patch[0] if len(patch) == 1 else patch.transpose(1, 2, 0) for patch in levels)
    return list(zip(spectra, map(data_url, images), strict=True))
