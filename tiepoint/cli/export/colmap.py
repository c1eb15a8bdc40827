"""`tiepoint export colmap`: a folder of images as a COLMAP database."""

import shlex
from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar
from tiepoint.options import Cameras, Detection, Matching, Verification

EXAMPLES = {
    "photos --out database.db --single-camera": "Match all photographs of one camera.",
    "photos --out database.db --pairs pairs.txt --describer rootsift": "Match listed pairs by another describer.",
}


def main(
    directory: Positional[Path],
    /,
    *,
    out: Path,
    pairs: str = "exhaustive",
    describer: str = "sdgmnet",
    device: str = "auto",
    json: bool = False,
    matching: Matching = Matching(),
    detection: Detection = Detection(),
    verification: Verification = Verification(),
    cameras: Cameras = Cameras(),
) -> int:
    """Describe and match the images of a folder, verify the pairs and write a COLMAP database for its mapper.

    Exit code 0: written, 1: written, but no pair was verified, 2: an input that cannot be used. An image that cannot be
    used is left out and named.

    Args:
        directory: Folder of images, also in subfolders.
        out: Database to write. It must not exist yet.
        pairs: exhaustive, or a file with two image names a line, separated by a comma, a tab or a space,
            and possibly scores.
        device: Where the describer computes: auto, cpu, cuda or mps.
    """
    from tiepoint.errors import InputError
    from tiepoint.export.colmap import Camera, verify_all, write_database
    from tiepoint.export.folder import check_one_size, chosen, match_folder, read_pairs

    if out.exists():
        raise InputError(f"{out} exists already: name another database or remove it")
    listed = None if pairs == "exhaustive" else read_pairs(pairs)
    if cameras.single_camera:
        check_one_size(directory, chosen(directory, listed))
    with progress_bar("describing and matching") as advance:
        found = match_folder(directory, describer, detection, matching, pairs=listed, device=device, progress=advance)
    geometries = verify_all(found, verification)
    if cameras.single_camera:
        first = next(iter(found.features.values()))
        taken: Camera | dict[str, Camera] = Camera.guess(first.size, cameras.focal)
    else:
        taken = {name: Camera.guess(features.size, cameras.focal) for name, features in found.features.items()}
    matches = {pair: m.indices for pair, m in found.matches.items()}
    write_database(out, found.features, matches, taken, geometries)
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
    quoted = [shlex.quote(str(path)) for path in (out, directory)]
    note(out, then=f"colmap mapper --database_path {quoted[0]} --image_path {quoted[1]} --output_path MODELS")
    return 0 if geometries else 1
