"""`tiepoint evaluate hpatches`: the HPatches patch benchmark."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tyro.conf import Positional

from tiepoint.cli.output import note, progress_bar, publish
from tiepoint.evaluation.options import HPatchesOptions

NOISES = {"e": "easy", "h": "hard", "t": "tough"}
KINDS = ("inter", "intra")

EXAMPLES = {
    "data/hpatches --model sdgmnet rootsift": "Compare two describers on all sequences.",
    "data/hpatches --model runs/mine --split view --out hpatches.json": "Keep what changing viewpoints give.",
}


def main(
    patches: Positional[Path],
    /,
    *,
    model: tuple[str, ...] = ("sdgmnet", "sift", "rootsift"),
    descriptors: tuple[Path, ...] = (),
    device: str = "auto",
    out: Path | None = None,
    json: bool = False,
    protocol: HPatchesOptions = HPatchesOptions(),
) -> None:
    """Measure describers on HPatches: patch verification, image matching and patch retrieval.

    Args:
        patches: HPatches: a folder, or the zip, with ref.png and e1.png to t5.png in each of i_*/ and v_*/.
        model: Names or paths of describers.
        descriptors: Folders of descriptor files (SEQUENCE/ref.csv and e1.csv to t5.csv) to measure as well.
        out: JSON file for the results.
        json: Print one JSON object, with rates as fractions.
        protocol: How HPatches is measured.
    """
    from tiepoint.data.readers.hpatches import HPatches
    from tiepoint.errors import InputError
    from tiepoint.evaluation.hpatches.run import evaluate_hpatches
    from tiepoint.files import check_outputs, write_json
    from tiepoint.models.device import choose_device
    from tiepoint.models.load import load_describer
    from tiepoint.version import __version__

    if not model and not descriptors:
        raise InputError("nothing to measure: give --model or --descriptors")
    check_outputs(out)
    on = choose_device(device)
    describers: dict[str, Any] = {name: load_describer(name, on) for name in model}
    describers |= {str(folder): folder for folder in descriptors}
    with progress_bar("describing") as advance:
        results = evaluate_hpatches(HPatches.open(patches), describers, protocol, progress=advance)
    report = {"protocol": "hpatches", "tiepoint": __version__, "data": str(patches), "results": results}
    if out:
        write_json(out, report)
    each = {result["describer"]: _tables(result) for result in results}
    tables = []
    for title, columns in _tables(results[0]).items():
        rows = [(name, *(f"{100 * value:.2f}" for value in found[title].values())) for name, found in each.items()]
        tables.append((title, ("model", *columns), rows))
    settings = (
        f"{protocol.averaging} averaging, {protocol.average_precision} AP, {protocol.metric} distance, normalisation "
        f"{protocol.normalization}, resize {protocol.resize}"
    )
    lines = [f"Split {protocol.split} of {results[0]['sequences']} sequences, {settings}, tiepoint {__version__}"]
    if drawn := [task for task, origin in results[0]["tasks"].items() if origin == "generated"]:
        lines.append(f"Drawn, not read from the benchmark's files: {', '.join(drawn)}")
    publish(report, json, tables, lines)
    note(out)


def _tables(result: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """Title -> column -> figure of one describer."""
    verification, matching, retrieval = (result[task] for task in ("verification", "matching", "retrieval"))
    return {
        "mAP (%)": result["mean_ap"],
        "Verification AP (%)": {
            f"{noise} {kind}": verification[key][kind]["ap"] for key, noise in NOISES.items() for kind in KINDS
        },
        "Matching AP (%)": {noise: matching[key]["ap"] for key, noise in NOISES.items()},
        "Retrieval AP (%), mean over pool sizes": {
            noise: sum(retrieval[key].values()) / len(retrieval[key]) for key, noise in NOISES.items()
        },
    }
