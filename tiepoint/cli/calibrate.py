"""`tiepoint calibrate`: the weights of the verdict, fitted to registrations with known truth."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, emit_table, note, progress_bar
from tiepoint.version import __version__

EXAMPLES = {
    "../shared/data --out verdict.json": "Fit the weights by RootSIFT's registrations.",
    "../shared/data --describer sdgmnet --max-pairs 20 --cases cases.json": "Try another describer; keep the cases.",
}
ROWS = ("set", "right", "wrong", "right_accepted", "wrong_accepted", "wrong_at_95_percent_of_the_right")
RANGES = ("from", "to", "cases", "mean", "share_right")


def main(
    data: Positional[Path],
    /,
    *,
    out: Path | None = None,
    describer: str = "rootsift",
    max_pairs: int = 45,
    cases: Path | None = None,
    max_keypoints: int = 3000,
    seed: int = 0,
    json: bool = False,
) -> int:
    """Fit the weights of the verdict to registrations of training images with known truth, and show how good they are.

    The images are those of visnir/train/country, visir/train, optsar/train and scenes/train, and noise. Right pairs
    show one scene under a known small warp, wrong pairs two scenes.

    Args:
        data: Folder of the image sets.
        out: File for the weights, in the layout of tiepoint/registration/verdict.json.
        max_pairs: Number of pairs to take of each set at most.
        cases: File of the measured registrations. If it exists, it is read and nothing is registered again.
        max_keypoints: Number of keypoints to keep in each image, the strongest first.
        seed: Seed of the warps and of the wrong pairs.
    """

    from tiepoint.evaluation.registration.calibration import FOLDS, Case, calibrate, measure_cases
    from tiepoint.files import check_outputs, write_json
    from tiepoint.parsed import MAX_TEXT_BYTES, read_json

    check_outputs(out)
    if cases is not None and cases.is_file():
        measured = read_json(cases, list[Case], "remove it to measure again", MAX_TEXT_BYTES)
    else:
        with progress_bar("registering") as advance:
            measured = measure_cases(
                data, describer, most=max_pairs, max_keypoints=max_keypoints, seed=seed, progress=advance
            )
        if cases is not None:
            write_json(cases, measured)
    weights, rows, reliability = calibrate(measured)
    if out is not None:
        write_json(out, {"tiepoint": __version__, **weights})
    if json:
        tables = {"sets": [dict(zip(ROWS, row, strict=True)) for row in rows]}
        tables["reliability"] = [dict(zip(RANGES, row, strict=True)) for row in reliability]
        emit({"cases": len(measured), "out": None if out is None else str(out), **tables}, True, title="")
        return 0
    emit_table(f"Verdict over {FOLDS} folds", [name.replace("_", " ") for name in ROWS], rows)
    emit_table("Reliability of the confidence", [name.replace("_", " ") for name in RANGES], reliability)
    note(out, cases, then="" if out is None else "compare it with tiepoint/registration/verdict.json")
    return 0
