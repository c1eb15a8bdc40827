"""`tiepoint export onnx`: a describer or a relater as an ONNX file."""

from pathlib import Path

from tyro.conf import Positional

from tiepoint.cli.output import emit, note

EXAMPLES = {
    "sdgmnet --out sdgmnet.onnx": "Export a shipped describer.",
    "runs/mine --out mine.onnx --json": "Export a model of one's own and print the facts as JSON.",
}


def main(model: Positional[str], /, *, out: Path, json: bool = False) -> None:
    """Write a describer or a relater as ONNX, once ONNX Runtime agrees with torch on it.

    Args:
        model: Name of a shipped model, a .safetensors file, a run folder or a checkpoint.
        out: File to write, which ends in .onnx. Its card appears beside it as .onnx.json.
    """
    from json import loads

    from tiepoint.export.onnx import card_path, export_onnx

    path = export_onnx(model, out)
    facts = loads(card_path(path).read_text(encoding="utf-8"))["onnx"]
    result = {
        "out": str(path),
        "inputs": list(facts["inputs"]),
        "input_size": next(iter(facts["inputs"].values()))[-1],
        "outputs": facts["outputs"],
        "megabytes": round(path.stat().st_size / 1e6, 1),
        "largest_difference": facts["largest_difference"],
    }
    if not json:
        result |= {key: ", ".join(facts[key]) for key in ("inputs", "outputs")}
    emit(result, json, title="Exported")
    note(path, card_path(path))
