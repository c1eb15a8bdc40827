"""`tiepoint demo`: a real stereo pair with true disparity, matched and registered, SDGMNet beside RootSIFT."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tiepoint.cli.output import progress_bar, publish
from tiepoint.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CORRECT = 2.0  # pixels

EXAMPLES = {
    "": "Match and register the pair by SDGMNet and RootSIFT.",
    "--describers hardnet sift --out out/demo": "Compare other describers.",
}


def main(
    *, describers: tuple[str, ...] = ("sdgmnet", "rootsift"), out: Path = Path("out/demo"), json: bool = False
) -> int:
    """Match and register the motorcycle pair of the Middlebury 2014 stereo set, which the scikit-image wheel holds.

    Its true disparity tells which matches are correct: those within 2 pixels of the true place. A homography holds
    for one plane of the scene only, so tie points are fewer than correct matches.

    Args:
        describers: Names or paths of describers. All get the same keypoints, ratio test and estimation.
        out: Folder for result.json and, of the first describer, matches.png and overlay.png.
    """
    from tiepoint.files import check_outputs, locked, write_json
    from tiepoint.images.pixels import write_image
    from tiepoint.models.load import load_describer
    from tiepoint.registration.register import register
    from tiepoint.registration.result import Registration
    from tiepoint.report.draw import draw_overlay, draw_registration
    from tiepoint.version import __version__

    left, right, disparity = _pair()
    models = {name: load_describer(name) for name in describers}
    found: dict[str, Registration] = {}
    results: dict[str, Any] = {}
    names = ("result.json", "matches.png", "overlay.png")
    check_outputs(*(out / name for name in names))
    with locked(out):
        with progress_bar("describe, match, register") as advance:
            for index, (name, model) in enumerate(models.items()):
                began = time.perf_counter()
                found[name] = register(left, right, model)
                advance(index + 1, len(models))
                results[name] = _measure(found[name], disparity, time.perf_counter() - began)
        first = found[describers[0]]
        write_json(out / "result.json", {"tiepoint": __version__, **results})
        write_image(out / "matches.png", draw_registration(left, right, first))
        if first.matrix is not None:
            write_image(out / "overlay.png", draw_overlay(left, right, first.matrix))
    header = ("describer", "keypoints", "matches", "correct", "precision %", "tie points", "precision %", "seconds")
    table = ("Motorcycle stereo pair", header, [(name, *_row(result)) for name, result in results.items()])
    pictures = f"pictures: {out}/matches.png {out}/overlay.png"
    publish({"out": str(out), "results": results}, json, [table], [pictures])
    return 0 if first.accepted else 1


def _measure(found: Any, disparity: NDArray[np.float32], seconds: float) -> dict[str, Any]:
    correct = _is_correct(found.matches, disparity)
    known = correct[correct >= 0]
    tied = _is_correct(found.tie_points, disparity)
    tied = tied[tied >= 0]
    return {
        "keypoints": found.a.keypoints,
        "matches": len(found.matches),
        "matches_with_truth": len(known),
        "correct": int((correct == 1).sum()),
        "precision": float((known == 1).mean()) if len(known) else 0.0,
        "tie_points": int(found.inliers.sum()),
        "tie_point_precision": float((tied == 1).mean()) if len(tied) else 0.0,
        "accepted": found.accepted,
        "seconds": round(seconds, 2),
    }


def _row(result: dict[str, Any]) -> list[Any]:
    keys = ("keypoints", "matches", "correct", "precision", "tie_points", "tie_point_precision", "seconds")
    return [f"{100 * result[key]:.1f}" if "precision" in key else result[key] for key in keys]


def _is_correct(points: NDArray[np.float64], disparity: NDArray[np.float32]) -> NDArray[np.int8]:
    """For each match (M,): 1 correct, 0 wrong, -1 where the disparity of the left point is unknown."""
    import numpy as np

    columns, rows = np.rint(points[:, :2]).astype(int).T
    shift = disparity[rows, columns]
    truth = np.column_stack([points[:, 0] - shift, points[:, 1]])
    error = np.hypot(*(points[:, 2:] - truth).T)
    return np.where(np.isfinite(shift), error <= CORRECT, -1).astype(np.int8)


def _pair() -> tuple[NDArray[np.uint8], NDArray[np.uint8], NDArray[np.float32]]:
    from tiepoint.images.raster import as_raster

    try:
        from skimage.data import stereo_motorcycle
    except ImportError:
        raise InputError("the demo's pair is in scikit-image: pip install 'tiepoint[demo]'") from None
    left, right, disparity = stereo_motorcycle()  # type: ignore[no-untyped-call]
    left, right = (as_raster(image.transpose(2, 0, 1)).pixels for image in (left, right))
    return left, right, disparity
