"""`tiepoint export weights`: a describer's weights for kornia or the authors' code."""

from pathlib import Path
from typing import Literal

from tyro.conf import Positional

from tiepoint.cli.output import emit

EXAMPLES = {
    "sdgmnet --out hynet.pth": "Write weights that kornia.feature.HyNet loads.",
    "runs/mine --layout authors --out mine.pth": "Write a run as its network is released.",
}


def main(
    model: Positional[str], /, *, out: Path, layout: Literal["kornia", "authors"] = "kornia", json: bool = False
) -> None:
    """Write a describer's weights as a torch file that another project loads.

    Args:
        model: name of a shipped describer, a .safetensors file, a run folder or a checkpoint
        out: file to write, which ends in .pth or .pt
        layout: kornia, for the class of kornia.feature, or authors, as the network's released checkpoint
        json: print one JSON object
    """
    from tiepoint.export.weights import export_weights
    from tiepoint.files import check_outputs

    check_outputs(out)
    loads = export_weights(model, out, layout)
    emit({"out": str(out), "layout": layout, "loads_into": loads}, json, title="Exported")
