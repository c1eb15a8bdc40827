"""`tiepoint export onnx`: a describer or a relater as an ONNX file."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note

EXAMPLES = {
    "sdgmnet --out sdgmnet.onnx": "Export a shipped describer.",
    "sdgmnet-any --dense --out any_dense.onnx": "Export the form that describes every window of an image.",
    "runs/mine --out mine.onnx --json": "Export a model of one's own and print the facts as JSON.",
}


def main(model: Positional[str], /, *, out: Path, dense: bool = False, json: bool = False) -> None:
    """Write a describer or a relater as ONNX, once ONNX Runtime agrees with torch on it.

    Args:
        model: Name of a shipped model, a .safetensors file, a run folder or a checkpoint.
        out: File to write, which ends in .onnx. Its card appears beside it as .onnx.json.
        dense: Write a describer's dense form, which takes images of any size and describes every window of them.
    """
    from json import loads

    from tiepoint.export.onnx import card_path, export_onnx
    from tiepoint.files import check_outputs

    check_outputs(out, card_path(out))
    path = export_onnx(model, out, dense)
    facts = loads(card_path(path).read_text(encoding="utf-8"))["onnx"]
    sides = next(iter(facts["inputs"].values()))
    result = {
        "out": str(path),
        "inputs": list(facts["inputs"]),
        **({key: facts[key] for key in ("window", "stride", "scale")} if dense else {"input_size": sides[-1]}),
        "outputs": facts["outputs"],
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "largest_difference": facts["largest_difference"],
    }
    if not json:
        result |= {key: ", ".join(facts[key]) for key in ("inputs", "outputs")}
    emit(result, json, title="Exported")
    note(path, card_path(path))
