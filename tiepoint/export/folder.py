"""A folder of images described and matched pair by pair: what COLMAP's and hloc's files are made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path, PurePosixPath

import torch

from tiepoint.errors import InputError
from tiepoint.features.describe import Features, describe
from tiepoint.images.header import inspect, opened
from tiepoint.images.raster import read_image
from tiepoint.images.window import SUFFIXES
from tiepoint.matching.match import match
from tiepoint.matching.neighbours import RowMatches
from tiepoint.models.describer import Describer
from tiepoint.models.load import load_describer
from tiepoint.names import read_lines, walk
from tiepoint.options import Detection, Matching
from tiepoint.types import Progress, tracked

Pair = tuple[str, str]


@dataclass(frozen=True)
class MatchedFolder:
    """Features by image name, and matches by pair of names."""

    features: dict[str, Features]  # of each image that could be used, by its path below the folder, with "/"
    matches: dict[Pair, RowMatches]  # of each pair of them, possibly none
    left_out: dict[str, str]  # images that could not be used, and why


def match_folder(
    directory: str | Path,
    describer: str | Path | Describer = "sdgmnet",
    detection: Detection | None = None,
    matching: Matching | None = None,
    *,
    pairs: Sequence[Pair] | None = None,
    device: str | torch.device = "auto",
    progress: Progress | None = None,
) -> MatchedFolder:
    """Describe the images of a folder and of its subfolders once each, and match them.

    All features are held in memory: 4 MB for 8,000 keypoints of 128 numbers. `pairs` are names to match, see
    `read_pairs`; every image with every other if None. `device` is where the describer computes: "auto" (cuda, mps or
    cpu), or a torch device. `progress` is called with images and pairs done, and their number.

    Raises InputError for no folder, a name that is not in it, an option that suits no image, or fewer than two images
    that can be used.
    """
    directory = Path(directory)
    names = chosen(directory, pairs)
    if unknown := sorted({*names} - {*list_images(directory)}):
        raise InputError(f"{directory / unknown[0]}: a pair names it, but there is no such image")
    pairs = list(combinations(names, 2)) if pairs is None else pairs
    model = load_describer(describer, device)
    features, left_out, matches, steps = {}, {}, {}, len(names) + len(pairs)
    for name in tracked(names, progress, steps):
        path = directory / name
        try:
            # As stored: COLMAP applies no EXIF orientation.
            features[name] = describe(read_image(path, orient=False), model, detection, name=str(path))
        except InputError as error:
            if not str(error).startswith(str(path)):  # no fault of this image
                raise
            left_out[name] = str(error)
    if len(features) < 2:
        reasons = "; ".join(left_out.values()) or "no other images there"
        raise InputError(f"{directory}: {len(features)} images can be used, two are needed: {reasons}")
    for a, b in tracked(pairs, progress, steps, before=len(names)):
        if a in features and b in features:
            matches[a, b] = match(features[a], features[b], matching=matching).rows
    return MatchedFolder(features, matches, left_out)


def list_images(directory: Path, below: bool = True) -> list[str]:
    """Names of the images in a folder, and by default its subfolders, sorted, as paths below it. InputError if none.

    Links to folders are followed, and those to nothing count as images, so that they are named as left out.
    """
    if not directory.is_dir():
        raise InputError(f"{directory} is missing or no folder: name a folder of images")
    found = [p for p in (walk(directory) if below else directory.iterdir()) if p.suffix.lower() in SUFFIXES]
    found = [p for p in found if p.is_file() or not p.exists()]
    names = sorted(p.relative_to(directory).as_posix() for p in found)
    names = [name for name in names if not name.startswith(".") and "/." not in name]
    if not names:
        raise InputError(f"{directory}: holds no images ({', '.join(SUFFIXES)})")
    return names


def chosen(directory: Path, pairs: Sequence[Pair] | None) -> list[str]:
    """The images that are matched: those of the pairs, or all of the folder."""
    return list_images(directory) if pairs is None else sorted({name for pair in pairs for name in pair})


def check_one_size(directory: Path, names: Sequence[str]) -> None:
    """Raise InputError unless all images have the size, as stored, of the first. Files that say none are passed."""
    first: tuple[str, int, int] | None = None
    for name in names:
        try:
            with opened(directory / name) as file:
                header = inspect(file, name)
        except InputError:
            continue  # left out later, with the reason
        if not header.width:
            continue
        first = first or (name, header.width, header.height)
        if (header.width, header.height) != first[1:]:
            sizes = f"{header.width}x{header.height} pixels, {first[0]} {first[1]}x{first[2]}"
            raise InputError(f"{directory / name}: is {sizes}: images of one camera have one size")


def read_pairs(path: str | Path) -> list[Pair]:
    """Pairs of image names from a file of two columns, with a comma, a tab or, as hloc writes them, a space between.

    Further columns may hold numbers, such as scores. Empty lines and lines that start with # are skipped, and a pair
    that stands there already, in either direction, is taken once. Raises InputError that names the line at fault.
    """
    remedy = "give two image names a line"
    pairs: dict[frozenset[str], Pair] = {}
    for number, line in enumerate(read_lines(path, remedy), 1):
        if not line.strip() or line.startswith("#"):
            continue
        separator = next((mark for mark in "\t," if mark in line), None)
        words = [word.strip().strip('"') for word in line.split(separator)]
        if len(words) < 2 or "" in words[:2] or words[0] == words[1] or not all(map(_is_number, words[2:])):
            raise InputError(f"{path}, line {number}: {line.strip()!r}: give two different image names")
        a, b = (PurePosixPath(word).as_posix() for word in words[:2])  # without a leading ./
        pairs.setdefault(frozenset((a, b)), (a, b))
    if not pairs:
        raise InputError(f"{path}: holds no pairs: {remedy}")
    return list(pairs.values())


def _is_number(word: str) -> bool:
    try:
        return float(word) is not None
    except ValueError:
        return not word  # a separator at the end of the line
