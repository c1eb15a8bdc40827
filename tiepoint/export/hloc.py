"""hloc's HDF5 files: features by image, matches by pair, and its list of pairs.

Convention: hloc's pixel centres are at integers, as ours are; it adds COLMAP's 0.5 itself. Descriptors lie in columns.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.errors import InputError, reason
from tiepoint.features.describe import Features
from tiepoint.features.frames import angles, sigmas
from tiepoint.files import GENERATOR, atomic_file, write_text
from tiepoint.names import is_utf8
from tiepoint.parsed import read_array

Pair = tuple[str, str]
FEATURES = ("keypoints", "descriptors", "image_size", "scores", "scales", "oris")
UNCERTAINTY = 1.0  # of a keypoint in pixels, hloc's default


@dataclass(frozen=True)
class HlocFeatures:
    """What hloc keeps of an image."""

    keypoints: NDArray[np.float64]  # (N, 2) x and y in pixels
    descriptors: NDArray[np.float32]  # (N, D)
    scores: NDArray[np.float32]  # (N,)
    size: tuple[int, int]  # width and height
    scales: NDArray[np.float32] | None = None  # (N,) sigmas in pixels, or None where the file has none
    angles: NDArray[np.float32] | None = None  # (N,) radians, counter-clockwise as seen, or None


def write_features(path: str | Path, images: Mapping[str, Features]) -> None:
    """Write a group an image: keypoints (N, 2), descriptors (D, N), scores (N,), image_size (2,), scales, oris (N,).

    All float32 but image_size. `scales` are sigmas in pixels, `oris` radians clockwise as seen, as pycolmap's SIFT
    gives them: all that these files have room for of an affine shape.
    """
    with atomic_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["generator"] = np.bytes_(GENERATOR)
        for name, features in images.items():
            group = file.create_group(name)
            group["keypoints"] = features.points.astype(np.float32)
            group["keypoints"].attrs["uncertainty"] = UNCERTAINTY
            group["descriptors"] = np.ascontiguousarray(features.descriptors.T, dtype=np.float32)
            group["scores"] = features.responses.astype(np.float32)
            group["image_size"] = np.array(features.size, dtype=np.int64)
            group["scales"] = sigmas(features.frames).astype(np.float32)
            group["oris"] = (-angles(features.frames)).astype(np.float32)


def read_features(path: str | Path, name: str) -> HlocFeatures:
    """Read an image's features, ours or hloc's own. Raises InputError that names what is missing."""
    with _open(path) as file:
        group = _group(file, name, f"{path}: no image {name}")
        table = {key: read_array(group[key], path) for key in FEATURES if key in group}
    for key in ("keypoints", "descriptors", "image_size"):
        if key not in table:
            raise InputError(f"{path}: {name} has no {key}: is it a file of hloc's features?")
    keypoints, descriptors = table["keypoints"].astype(np.float64), table["descriptors"].astype(np.float32)
    if keypoints.shape[1:] != (2,) or descriptors.shape[1:] != keypoints.shape[:1]:
        shapes = f"keypoints {keypoints.shape} and descriptors {descriptors.shape}"
        raise InputError(f"{path}: {name} has {shapes}: must be (N, 2) and (D, N)")
    lengths = {table[key].shape for key in ("scores", "scales", "oris") if key in table}
    if table["image_size"].shape != (2,) or lengths - {keypoints.shape[:1]}:
        raise InputError(f"{path}: {name} has an image_size, scores, scales or oris of another length: copy it again")
    width, height = (int(v) for v in table["image_size"])
    scores = table.get("scores", np.ones(len(keypoints))).astype(np.float32)
    scales = table["scales"].astype(np.float32) if "scales" in table else None
    turns = -table["oris"].astype(np.float32) if "oris" in table else None
    return HlocFeatures(keypoints, np.ascontiguousarray(descriptors.T), scores, (width, height), scales, turns)


def write_matches(
    path: str | Path,
    images: Mapping[str, Features],
    matches: Mapping[Pair, NDArray[np.integer]],
    scores: Mapping[Pair, ArrayLike] | None = None,
) -> None:
    """Write a group a pair: matches0 (N,) int32, a row of the second image or -1, and matching_scores0 (N,) float32.

    `images` are features by name; N is the number of the first image's keypoints. `matches` are (M, 2) rows for each
    pair of names, and `scores` (M,) in 0..1; 1 if None. Keypoints without a match get 0. Raises InputError for a name
    or row that is not there, a keypoint with two matches, or two pairs of one group.
    """
    with atomic_file(path) as temporary, h5py.File(temporary, "w") as file:
        file.attrs["generator"] = np.bytes_(GENERATOR)
        for (a, b), table in matches.items():
            title = f"matches of {a} and {b}"
            if a not in images or b not in images:
                raise InputError(f"{title}: no features of {a if a not in images else b}")
            rows = np.asarray(table, dtype=np.int64).reshape(-1, 2)
            limits = np.array([len(images[a]), len(images[b])])
            if ((rows < 0) | (rows >= limits)).any():
                raise InputError(f"{title}: rows beyond the {limits[0]} and {limits[1]} keypoints")
            if len(np.unique(rows[:, 0])) < len(rows):
                raise InputError(f"{title}: a keypoint of {a} has two matches: hloc holds one")
            if pair_name(a, b) in file:
                raise InputError(f"{title}: another pair has the group {pair_name(a, b)} already: rename an image")
            strength = np.ones(len(rows)) if scores is None else np.asarray(scores[a, b])
            partners, weights = np.full(limits[0], -1, dtype=np.int32), np.zeros(limits[0], dtype=np.float32)
            partners[rows[:, 0]], weights[rows[:, 0]] = rows[:, 1], strength
            group = file.create_group(pair_name(a, b))
            group["matches0"], group["matching_scores0"] = partners, weights


def read_matches(path: str | Path, a: str, b: str) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Matches (M, 2) of a pair, stored in either order, by row of the stored first image, and their scores (M,).

    Raises InputError if the pair is not there.
    """
    with _open(path) as file:
        flip = pair_name(a, b) not in file
        group = _group(file, pair_name(b, a) if flip else pair_name(a, b), f"{path}: no pair {a} and {b}")
        for key in ("matches0", "matching_scores0"):
            if key not in group:
                raise InputError(f"{path}: {a} and {b} have no {key}: is it a file of hloc's matches?")
        partners = read_array(group["matches0"], path).astype(np.int64)
        weights = read_array(group["matching_scores0"], path).astype(np.float32)
        if partners.ndim != 1 or partners.shape != weights.shape:
            raise InputError(
                f"{path}: {a} and {b} have {partners.shape} matches, {weights.shape} scores: copy it again"
            )
    rows = np.flatnonzero(partners >= 0)
    pairs = np.stack([rows, partners[rows]], axis=1)
    return (pairs[:, ::-1] if flip else pairs), weights[rows]


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> None:
    """Write hloc's list of pairs: two names a line. Raises InputError as `check_names`."""
    pairs = list(pairs)
    check_names(name for pair in pairs for name in pair)
    write_text(path, "".join(f"{a} {b}\n" for a, b in pairs))


def check_names(names: Iterable[str]) -> None:
    """Raise InputError for a name with a space, at which hloc splits a line, that is no UTF-8, or is another's.

    hloc calls a pair by the names with - for /.
    """
    flat: dict[str, str] = {}
    for name in names:
        if len(name.split()) != 1:
            raise InputError(f"{name!r}: hloc separates names by spaces: rename the image")
        if not is_utf8(name):
            raise InputError(f"{name!r}: hloc reads names as UTF-8: rename the image")
        if (other := flat.setdefault(name.replace("/", "-"), name)) != name:
            raise InputError(f"{name!r}: hloc cannot tell it from {other!r}: rename the image")


def pair_name(a: str, b: str) -> str:
    """hloc's group of a pair."""
    return "/".join(name.replace("/", "-") for name in (a, b))


def _open(path: str | Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise InputError(f"{path}: cannot be read as HDF5 ({reason(error)})") from None


def _group(file: h5py.File, name: str, complaint: str) -> h5py.Group:
    group = file.get(name)
    if not isinstance(group, h5py.Group):
        raise InputError(f"{complaint}: give a name as it was written")
    return group
