"""`tiepoint export hloc`: a folder of images as hloc's features, matches and pairs."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note, progress_bar
from tiepoint.options import Detection, Matching

EXAMPLES = {
    "photos --out hloc": "Describe and match all photographs.",
    "photos --out hloc --pairs pairs.txt --max-keypoints 2000": "Match the pairs of a list with fewer keypoints.",
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
) -> None:
    """Describe and match the images of a folder and write features.h5, matches.h5 and pairs.txt as hloc does.

    A match's score is (1 + inner product of the descriptors) / 2. An image that cannot be used is left out and named.

    Args:
        directory: Folder of the images, which may have subfolders.
        out: Folder to write to.
        pairs: All pairs (exhaustive), or a file with two image names a line, separated by a comma, a tab or a space,
            and possibly scores.
        device: Where the describer computes: auto, cpu, cuda or mps.
    """
    from tiepoint.export.folder import chosen, match_folder, read_pairs
    from tiepoint.export.hloc import check_names, write_features, write_matches, write_pairs
    from tiepoint.files import check_outputs, locked

    listed = None if pairs == "exhaustive" else read_pairs(pairs)
    check_names(chosen(directory, listed))
    written = [out / name for name in ("features.h5", "matches.h5", "pairs.txt")]
    check_outputs(*written)
    with progress_bar("describing and matching") as advance:
        found = match_folder(directory, describer, detection, matching, pairs=listed, device=device, progress=advance)
    scores = {pair: ((1 + m.similarity) / 2).clip(0, 1) for pair, m in found.matches.items()}
    with locked(out):
        write_features(written[0], found.features)  # the first: by its sign a later run knows pairs.txt
        write_matches(written[1], found.features, {p: m.indices for p, m in found.matches.items()}, scores)
        write_pairs(written[2], found.matches)
    result = {
        "out": str(out),
        "images": len(found.features),
        "keypoints": sum(map(len, found.features.values())),
        "pairs": len(found.matches),
        "matches": sum(map(len, found.matches.values())),
        "left_out": found.left_out if json else "; ".join(found.left_out.values()) or "none",
    }
    emit(result, json, title="Exported")
    note(*written)
