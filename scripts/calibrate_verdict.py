"""Fit the weights of the verdict to registrations with known truth, of training images alone.

    python scripts/calibrate_verdict.py ../shared/data --describer rootsift --out tiepoint/imaging/verdict.json

Right pairs are aligned images of two spectra (visnir/train, visir/train, optsar/train), and single images of
scenes/train and of noise of many scales with themselves under another light; the second of each is turned by up to 15
degrees, scaled by 0.9 to 1.1 and shifted by up to 10 %. Wrong pairs join images of different places. A registration is
right if its corners are good to 5 px; those between 5 and LIMIT px, where the aligned images' own truth is doubtful,
are left out. Prints the reliability of the fit, by five folds over the images.
"""

from __future__ import annotations

import argparse
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.cli.output import emit_table, progress_bar
from tiepoint.evaluation.registration.aligned_pairs import image_pairs, small_warp
from tiepoint.files import write_json
from tiepoint.geometry.robust import corner_error
from tiepoint.images.raster import read_image
from tiepoint.models.load import load_describer
from tiepoint.options import Verdict
from tiepoint.registration.register import register
from tiepoint.registration.verdict import FEATURES, Evidence

RIGHT, LIMIT = 5.0, 20.0
PARTNERS = 2  # wrong pairs of each image
NOISE = (1.0, 2.5, 5.0, 10.0, 20.0)  # px
PENALTY = 0.2
FOLDS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--describer", default="rootsift")
    parser.add_argument("--most", type=int, default=45, help="pairs of each set")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--max-keypoints", type=int, default=3000)
    parser.add_argument("--cases", type=Path, help="file of the measured cases, read if it is there, else written")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.cases and options.cases.is_file():
        cases = json.loads(options.cases.read_text())
    else:
        cases = measure(options)
        if options.cases:
            write_json(options.cases, cases)
    features = np.array([Evidence(**case["evidence"]).features() for case in map(restore, cases)])
    right = np.array([case["error"] <= RIGHT for case in cases])
    folds = np.array([case["image"] % FOLDS for case in cases])
    predicted = np.empty(len(cases))
    for fold in range(FOLDS):
        predicted[folds == fold] = probabilities(
            fit(features[folds != fold], right[folds != fold]), features[folds == fold]
        )
    report(cases, right, predicted)
    if options.out:
        weights = fit(features, right)
        good = np.median(features[right], axis=0)
        write_json(options.out, {k: np.round(v, 6).tolist() for k, v in {**weights, "good": good}.items()})


def measure(options: argparse.Namespace) -> list[dict[str, Any]]:
    """Register every case; evidence and corner error (1e9 for a wrong pair) of each."""
    random = np.random.default_rng(options.seed)
    model = load_describer(options.describer)
    cases: list[dict[str, Any]] = []
    jobs: list[tuple[str, Path | int, Path | int, str]] = list(list_pairs(options.data, options.most))
    jobs += [("made", seed, seed, str(seed)) for seed in range(options.most)]
    with progress_bar("registering") as advance:
        for done, (name, first, second, group) in enumerate(jobs):
            others = [job for job in jobs if job[0] == name and job[3] != group]
            partners = [others[row][2] for row in random.choice(len(others), PARTNERS, replace=False)]
            for kind, source in (("right", second), *(("wrong", partner) for partner in partners)):
                a, b = image(first), image(source)
                if name in ("scenes", "made"):
                    b = relit(b, random)
                truth = small_warp(random, b.shape)
                b = cv2.warpPerspective(b, truth, b.shape[::-1])
                found = register(a, b, model, max_keypoints=options.max_keypoints, min_confidence=0.0)
                if found.matrix is None:
                    continue
                error = corner_error(found.matrix, truth, a.shape[1], a.shape[0]) if kind == "right" else 1e9
                if RIGHT < error <= LIMIT:
                    continue
                cases.append(
                    {"set": name, "kind": kind, "image": done, "error": error, "evidence": found.evidence.to_json()}
                )
            advance(done + 1, len(jobs))
    return cases


def list_pairs(data: Path, most: int) -> list[tuple[str, Path, Path, str]]:
    """(set, first image, second image, place) of every pair, evenly taken."""
    found = []
    for name, folder, one, two in (
        ("visnir", "visnir/train/country", "vis", "nir"),
        ("visir", "visir/train", "vis", "ir"),
        ("optsar", "optsar/train", "opt", "sar"),
    ):
        pairs = image_pairs(data / folder, one, two)
        found += [(name, *pair, pair[0].stem) for pair in pairs[:: max(1, len(pairs) // most)][:most]]
    images = sorted((data / "scenes/train").glob("*/images/*"))
    for path in images[:: max(1, len(images) // most)][:most]:
        found.append(("scenes", path, path, path.parts[-3]))
    return found


def image(source: Path | int) -> NDArray[Any]:
    """The grey image of a file; of a number, noise of many scales, 480 x 360."""
    if isinstance(source, Path):
        return read_image(source).pixels
    random = np.random.default_rng(source)
    layers = [cv2.GaussianBlur(random.normal(size=(360, 480)), (0, 0), sigma) for sigma in NOISE]
    total = np.sum([layer / layer.std() for layer in layers], axis=0)
    grey: NDArray[np.uint8] = (128 + 40 * total / total.std()).clip(0, 255).astype(np.uint8)
    return grey


def relit(image: NDArray[Any], random: np.random.Generator) -> NDArray[np.uint8]:
    """Another gamma, contrast and noise."""
    grey = (image / 255.0) ** random.uniform(0.5, 2.0) * random.uniform(0.5, 1.0)
    return np.rint(255 * (grey + random.normal(0, 0.02, grey.shape)).clip(0, 1)).astype(np.uint8)


def restore(case: dict[str, Any]) -> dict[str, Any]:
    """JSON has no infinity."""
    return {**case, "evidence": {k: np.inf if v is None else v for k, v in case["evidence"].items()}}


def fit(features: NDArray[np.float64], right: NDArray[np.bool_]) -> dict[str, Any]:
    """Logistic regression by Newton's method, with a small penalty, on standardised features."""
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-9
    x = np.column_stack([(features - mean) / deviation, np.ones(len(features))])
    weights = np.zeros(x.shape[1])
    ridge = PENALTY * np.append(np.ones(x.shape[1] - 1), 0)
    for _ in range(100):
        p = 1 / (1 + np.exp(-x @ weights))
        gradient = x.T @ (p - right) + ridge * weights
        hessian = (x * (p * (1 - p) + 1e-9)[:, None]).T @ x + np.diag(ridge + 1e-9)
        weights -= np.linalg.solve(hessian, gradient)
    return {"mean": mean, "deviation": deviation, "weights": weights[:-1], "constant": weights[-1]}


def probabilities(weights: dict[str, Any], features: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(
        1
        / (
            1
            + np.exp(-((features - weights["mean"]) / weights["deviation"] @ weights["weights"] + weights["constant"]))
        )
    )


def report(cases: list[dict[str, Any]], right: NDArray[np.bool_], predicted: NDArray[np.float64]) -> None:
    names = sorted({case["set"] for case in cases})
    rows = []
    for name in [*names, "all"]:
        of = np.array([name in ("all", case["set"]) for case in cases])
        good, bad = predicted[of & right], predicted[of & ~right]
        limit = np.quantile(good, 0.05) if len(good) else 1.0
        accepted = float((bad >= limit).mean()) if len(bad) else 0.0
        rows.append(
            (
                name,
                len(good),
                len(bad),
                float((good >= Verdict.min_confidence).mean()),
                float((bad >= Verdict.min_confidence).mean()),
                accepted,
            )
        )
    header = ("set", "right", "wrong", "right accepted", "wrong accepted", "wrong at 95 % of the right")
    emit_table(f"Verdict over {FOLDS} folds, features {', '.join(FEATURES)}", header, rows)
    edges = np.linspace(0, 1, 6)
    bins = [(predicted >= a) & (predicted <= b) for a, b in pairwise(edges)]
    emit_table("Reliability", ("confidence", "cases", "mean", "share right"), [
        (f"{a:.1f} to {b:.1f}", int(m.sum()), float(predicted[m].mean()), float(right[m].mean()))
        for (a, b), m in zip(pairwise(edges), bins, strict=True) if m.any()
    ])  # fmt: skip


if __name__ == "__main__":
    main()
