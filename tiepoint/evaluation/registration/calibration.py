"""The weights of the verdict, fitted to registrations with known truth, of training images alone.

Right pairs are those of srif/train by their own truth, aligned images of two spectra (visnir/train/country,
visir/train, optsar/train), and single images of scenes/train and of noise of many scales with themselves under another
light; but for srif/train the second image is turned by up to 15 degrees, scaled by 0.9 to 1.1 and shifted by up to
10 %. Wrong pairs join images of different scenes. A registration is right if its corners are good to RIGHT_PX; those
between RIGHT_PX and DOUBTFUL_PX, where the aligned images' own truth is doubtful, are left out.
"""

from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, TypedDict

import cv2
import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.geometry.robust import corner_error
from tiepoint.images.raster import read_image
from tiepoint.images.window import rotation_matrix
from tiepoint.matching.match import AUTO
from tiepoint.models.load import load_describer
from tiepoint.options import Verdict
from tiepoint.parsed import Count, Number
from tiepoint.registration.register import register
from tiepoint.registration.verdict import Evidence
from tiepoint.types import Progress

SETS = {"visnir": ("visnir/train/country", "vis", "nir"), "visir": ("visir/train", "vis", "ir"),
        "optsar": ("optsar/train", "opt", "sar")}  # fmt: skip
DEGREES, SCALES, SHIFT = 15.0, (0.9, 1.1), 0.1  # of `small_warp`
SRIF = ("Nighttime", "Optical-Depth", "Optical-Infrared", "Optical-Map", "Optical-Optical")  # of srif/train
ROADS = ("visir",)  # its images, as those of one kind of srif, often show one place: each kind counts as one scene
RIGHT_PX, DOUBTFUL_PX = 5.0, 20.0
WRONG_PAIRS = 2  # of each image
NOISE_SIGMAS = (1.0, 2.5, 5.0, 10.0, 20.0)  # px
PENALTY = 0.2
FOLDS = 5
Weights = dict[str, Any]  # mean, deviation, weights, constant, and the median evidence of right registrations as good


class Case(TypedDict):
    """A registration with known truth."""

    set: str
    kind: str  # of the pair: right or wrong
    image: Count  # its number
    error: Annotated[float, (0, 1e9)]  # px
    evidence: dict[str, Number | None]


def image_pairs(folder: Path, one: str, two: str) -> list[tuple[Path, Path]]:
    """The images NAME_one.jpg anywhere in a folder, by path, each with the NAME_two.jpg beside it if there is one."""
    firsts = sorted(folder.rglob(f"*_{one}.jpg"))
    pairs = [(first, first.with_name(first.name.removesuffix(f"{one}.jpg") + f"{two}.jpg")) for first in firsts]
    return [(first, second) for first, second in pairs if second.is_file()]


def small_warp(random: np.random.Generator, shape: tuple[int, ...]) -> NDArray[np.float64]:
    """A similarity (3, 3) of an image of `shape` (H, W), drawn uniformly.

    About the image's centre: up to DEGREES either way, SCALES, and a shift of up to SHIFT of the sides along each.
    """
    height, width = shape
    degrees, scale = random.uniform(-DEGREES, DEGREES), random.uniform(*SCALES)
    linear = scale * rotation_matrix(degrees)
    centre = np.array([(width - 1) / 2, (height - 1) / 2])
    matrix = np.eye(3)
    matrix[:2, :2] = linear
    matrix[:2, 2] = centre + random.uniform(-SHIFT, SHIFT, 2) * [width, height] - linear @ centre
    return matrix


def list_pairs(data: Path, most: int) -> list[tuple[str, Path, Path, str]]:
    """(set, first image, second image, scene) of up to `most` pairs of each set, evenly taken."""
    found = []
    for name, (folder, one, two) in SETS.items():
        pairs = image_pairs(data / folder, one, two)
        chosen = pairs[:: max(1, len(pairs) // most)][:most]
        found += [(name, *pair, name if name in ROADS else pair[0].stem) for pair in chosen]
    for kind in SRIF:
        truths = sorted((data / "srif/train" / kind).glob("gt_*.txt"), key=_number)
        for truth in truths[:: max(1, len(truths) // most)][:most]:
            first, second = (next(truth.parent.glob(f"pair{_number(truth)}_{side}.*")) for side in (1, 2))
            found.append((kind, first, second, kind))
    images = sorted((data / "scenes/train").glob("*/images/*"))
    for path in images[:: max(1, len(images) // most)][:most]:
        found.append(("scenes", path, path, path.parts[-3]))
    return found


def srif_truth(first: Path) -> NDArray[np.float64]:
    """The transform (3, 3) from a first image of srif to the second."""
    return np.vstack([np.loadtxt(first.with_name(f"gt_{_number(first)}.txt")).reshape(2, 3), [0, 0, 1]])


def _number(path: Path) -> int:
    """The number in a name of SRIF: pair12_1.jpg, gt_12.txt."""
    return int(path.stem.removeprefix("pair").removeprefix("gt_").split("_")[0])


def measure_cases(
    data: Path, describer: str, *, most: int, max_keypoints: int, seed: int, progress: Progress
) -> list[Case]:
    """Register every right and wrong pair of the images in `data`; a wrong pair's corner error is 1e9 px.

    Raises InputError where a set has too few scenes to make wrong pairs of.
    """
    random = np.random.default_rng(seed)
    model = describer if describer == AUTO else load_describer(describer)
    jobs: list[tuple[str, Path | int, Path | int, str]] = list(list_pairs(data, most))
    if not jobs:
        folders = ", ".join([*(folder for folder, _, _ in SETS.values()), "scenes/train/*/images"])
        raise InputError(f"{data}: holds no training images: there must be some in {folders}")
    jobs += [("made", number, number, str(number)) for number in range(most)]
    cases: list[Case] = []
    for done, (name, first, second, scene) in enumerate(jobs):
        others = [job for job in jobs if shows_another_place(job, name, scene)]
        if len(others) < WRONG_PAIRS:
            raise InputError(f"{name}: has images of too few scenes: wrong pairs need {1 + WRONG_PAIRS} scenes or more")
        partners = [others[row][2] for row in random.choice(len(others), WRONG_PAIRS, replace=False)]
        for kind, source in (("right", second), *(("wrong", partner) for partner in partners)):
            a, b = _image(first), _image(source)
            if name in ("scenes", "made"):
                b = _relit(b, random)
            if isinstance(first, Path) and name in SRIF:
                truth = srif_truth(first)
            else:
                truth = small_warp(random, b.shape)
                b = cv2.warpPerspective(b, truth, b.shape[::-1])
            found = register(a, b, model, max_keypoints=max_keypoints, min_confidence=0.0)
            if found.matrix is None or not found.evidence.places:  # judged by matches alone
                continue
            error = corner_error(found.matrix, truth, a.shape[1], a.shape[0]) if kind == "right" else 1e9
            if not RIGHT_PX < error <= DOUBTFUL_PX:
                evidence = found.evidence.to_json()
                cases.append({"set": name, "kind": kind, "image": done, "error": error, "evidence": evidence})
        progress(done + 1, len(jobs))
    return cases


def shows_another_place(job: tuple[Any, ...], name: str, scene: str) -> bool:
    """Whether a job (set, first image, second image, scene) shows surely another scene than `scene` of set `name`."""
    return (job[0] == name or {job[0], name} <= {*SRIF, *ROADS}) and job[3] != scene


def calibrate(cases: list[Case]) -> tuple[Weights, list[tuple[Any, ...]], list[tuple[Any, ...]]]:
    """Fit the weights of the verdict, and measure the fit by FOLDS folds over the images.

    Returns:
        The weights in the layout of verdict.json; rows (set, right, wrong, share of the right that is accepted, share
        of the wrong, share of the wrong where 95 % of the right are accepted); and rows (from, to, cases, mean
        confidence, share right) of five ranges of confidence.

    Raises:
        InputError: no right or no wrong registration.
    """
    right = np.array([case["error"] <= RIGHT_PX for case in cases], dtype=bool)
    if right.all() or not right.any():
        raise InputError(
            f"{int(right.sum())} of {len(cases)} registrations are right: a fit needs right and wrong ones: add images"
        )
    stated: list[dict[str, Any]] = [  # JSON has no infinity: None stands for it
        {key: np.inf if value is None else value for key, value in case["evidence"].items()} for case in cases
    ]
    try:
        spoken = [Evidence(**evidence) for evidence in stated]
    except TypeError as error:
        raise InputError(f"the evidence of a case is not that of this version ({error}): measure again") from None
    if len({evidence.names for evidence in spoken}) > 1:
        raise InputError("some cases were described densely, others at keypoints: measure them in one way")
    features = np.array([evidence.features() for evidence in spoken])
    signs = np.where(np.array(spoken[0].names) == "roundtrip", -1.0, 1.0)
    folds = np.array([case["image"] % FOLDS for case in cases])
    predicted = np.empty(len(cases))
    for fold in {*folds.tolist()}:
        predicted[folds == fold] = probabilities(
            fit(features[folds != fold], right[folds != fold], signs), features[folds == fold]
        )
    weights = fit(features, right, signs) | {"good": np.median(features[right], axis=0)}
    names = np.array([case["set"] for case in cases])
    rows = [
        _accepted(name, predicted[right & of], predicted[~right & of])
        for name, of in [*((name, names == name) for name in sorted({*names.tolist()})), ("all", names != "")]
    ]
    bins = [(low, high, (predicted >= low) & (predicted <= high)) for low, high in pairwise(np.linspace(0, 1, 6))]
    reliability = [
        (float(low), float(high), int(m.sum()), float(predicted[m].mean()), float(right[m].mean()))
        for low, high, m in bins
        if m.any()
    ]
    return {key: np.round(value, 6).tolist() for key, value in weights.items()}, rows, reliability


def fit(features: NDArray[np.float64], right: NDArray[np.bool_], signs: NDArray[np.float64] | None = None) -> Weights:
    """Logistic regression by Newton's method, with a small penalty, on standardised features (N, F).

    A feature that would count against the sign it must have (F,) says nothing beyond the others, and gets no weight.
    """
    used = np.ones(features.shape[1], dtype=bool)
    while True:
        found = _fit(features[:, used], right)
        wrong = np.zeros(len(used), dtype=bool) if signs is None else signs[used] * found["weights"] < 0
        if not wrong.any():
            break
        used[np.flatnonzero(used)[wrong]] = False
    weights = np.zeros(len(used))
    weights[used] = found["weights"]
    scale = {"mean": features.mean(axis=0), "deviation": features.std(axis=0) + 1e-9}
    return {**scale, "weights": weights, "constant": found["constant"]}


def _fit(features: NDArray[np.float64], right: NDArray[np.bool_]) -> Weights:
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


def probabilities(weights: Weights, features: NDArray[np.float64]) -> NDArray[np.float64]:
    """Confidence (N,) in 0..1 of registrations with the features (N, F)."""
    x = (features - weights["mean"]) / weights["deviation"]
    return np.asarray(1 / (1 + np.exp(-(x @ weights["weights"] + weights["constant"]))))


def _accepted(name: str, good: NDArray[np.float64], bad: NDArray[np.float64]) -> tuple[Any, ...]:
    limit = np.quantile(good, 0.05) if len(good) else 1.0
    shares = [
        float((values >= least).mean()) if len(values) else 0.0
        for values, least in ((good, Verdict.min_confidence), (bad, Verdict.min_confidence), (bad, limit))
    ]
    return name, len(good), len(bad), *shares


def _image(source: Path | int) -> NDArray[Any]:
    """The grey image of a file; of a number, noise of many scales, 480 x 360."""
    if isinstance(source, Path):
        return read_image(source).pixels
    random = np.random.default_rng(source)
    layers = [cv2.GaussianBlur(random.normal(size=(360, 480)), (0, 0), sigma) for sigma in NOISE_SIGMAS]
    total = np.sum([layer / layer.std() for layer in layers], axis=0)
    grey: NDArray[np.uint8] = (128 + 40 * total / total.std()).clip(0, 255).astype(np.uint8)
    return grey


def _relit(image: NDArray[Any], random: np.random.Generator) -> NDArray[np.uint8]:
    """The image with another gamma, contrast and noise."""
    grey = (image / 255.0) ** random.uniform(0.5, 2.0) * random.uniform(0.5, 1.0)
    relit: NDArray[np.uint8] = np.rint(255 * (grey + random.normal(0, 0.02, grey.shape)).clip(0, 1)).astype(np.uint8)
    return relit
