"""`tiepoint export colmap`: a folder of images as a COLMAP database."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from tiepoint.cli.output import emit, progress_bar
from tiepoint.options import Detection, Estimation, Matching

EXAMPLES = (
    ("tiepoint export colmap photos --out database.db --single-camera", "Match all photographs of one camera."),
    (
        "tiepoint export colmap photos --out database.db --pairs pairs.txt --describer rootsift",
        "Match the pairs of a list by another describer.",
    ),
)


def main(
    directory: Annotated[Path, tyro.conf.Positional],
    /,
    *,
    out: Path,
    pairs: str = "exhaustive",
    describer: str = "sdgmnet",
    max_residual: float = Estimation.max_residual,
    min_inliers: int = 15,
    single_camera: bool = False,
    focal: float | None = None,
    seed: int = 0,
    device: str = "auto",
    json: bool = False,
    matching: Matching = Matching(),
    detection: Detection = Detection(),
) -> int:
    """Describe and match the images of a folder, verify the pairs and write a COLMAP database for its mapper.

    Exit code 0: written, 1: written, but no pair was verified, 2: an input that cannot be used. An image that cannot be
    used is left out and named.

    Args:
        directory: images, also in subfolders
        out: database to write; must not exist
        pairs: exhaustive, or a file with two image names a line, separated by a comma or a space
        describer: name or path of a describer
        max_residual: Largest Sampson distance of an inlier in pixels.
        min_inliers: of a verified pair
        single_camera: all images are of one camera, and of one size; otherwise each has its own
        focal: focal length in pixels, if known; otherwise COLMAP starts from 1.2 times the longer side
        seed: of the robust estimation
        device: Where the describer computes: auto, cpu, cuda or mps.
        json: print one JSON object
    """
    from tiepoint.errors import InputError
    from tiepoint.export.colmap import Camera, write_database
    from tiepoint.export.folder import check_one_size, chosen, match_folder, read_pairs
    from tiepoint.export.verify import verify_all

    if out.exists():
        raise InputError(f"{out} exists already: name another database or remove it")
    if focal is not None and not focal > 0:
        raise InputError(f"focal is {focal:g}: give a positive number of pixels")
    listed = None if pairs == "exhaustive" else read_pairs(pairs)
    if single_camera:
        check_one_size(directory, chosen(directory, listed))
    with progress_bar("describing and matching", quiet=json) as advance:
        found = match_folder(directory, describer, detection, matching, pairs=listed, device=device, progress=advance)
    geometries = verify_all(found, threshold=max_residual, min_inliers=min_inliers, seed=seed)
    if single_camera:
        first = next(iter(found.features.values()))
        cameras: Camera | dict[str, Camera] = Camera.guess(first.size, focal)
    else:
        cameras = {name: Camera.guess(features.size, focal) for name, features in found.features.items()}
    matches = {pair: m.indices for pair, m in found.matches.items()}
    write_database(out, found.features, matches, cameras, geometries)
    result = {
        "out": str(out),
        "images": len(found.features),
        "keypoints": sum(map(len, found.features.values())),
        "pairs": len(matches),
        "matches": sum(map(len, matches.values())),
        "verified_pairs": len(geometries),
        "inliers": sum(len(g.inliers) for g in geometries.values()),
        "left_out": found.left_out if json else "; ".join(found.left_out.values()) or "none",
    }
    emit(result, json, title="Exported")
    return 0 if geometries else 1
