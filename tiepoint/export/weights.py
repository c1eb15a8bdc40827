"""Weights of describers as torch files that other projects load: the authors' own, and kornia."""

from pathlib import Path
from typing import Any

import torch

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.files import atomic_file
from tiepoint.models.load import load_describer
from tiepoint.nets.blocks.layers import FRN

LAYOUTS = ("kornia", "authors")
KORNIA = {"sdgmnet": "HyNet", "hynet": "HyNet", "hardnet": "HardNet", "l2net": "HardNet", "hardnet8": "HardNet8",
          "sosnet": "SOSNet", "tfeat": "TFeat"}  # fmt: skip
PROJECTION = (512, 128)  # of kornia's HardNet8


def export_weights(name_or_path: str | Path, out: str | Path, layout: str = "kornia") -> str:
    """Write a describer's weights as a torch file in another project's layout; return what loads it.

    "kornia": the state dict of `kornia.feature`'s class, which loads it strictly: HyNet (sdgmnet, hynet), HardNet
    (hardnet, l2net), HardNet8, SOSNet or TFeat. "authors": as the network's released checkpoint; SDGMNet's lists every
    layer twice and lies in "model_state_dict", HardNet's lies in "state_dict".

    `name_or_path` is as `tiepoint.load` takes it; `out` ends in .pth or .pt. Raises InputError for no describer with
    weights, a layout that its network does not have, or another ending.
    """
    out, model = Path(out), load_describer(name_or_path)
    if layout not in LAYOUTS:
        raise InputError(f"layout {layout!r}: there are {' and '.join(LAYOUTS)}")
    if out.suffix not in (".pth", ".pt"):
        raise InputError(f"{out}: name a file that ends in .pth or .pt")
    network = str(model.card.get("network"))
    if network not in nets.DESCRIBERS:
        raise InputError(f"{model.name}: is computed by OpenCV and has no weights to export")
    if layout == "kornia" and network not in KORNIA:
        raise InputError(f"{model.name}: kornia has no {network}, only {', '.join(KORNIA)}: try the layout authors")
    state = {key: value.detach().cpu() for key, value in model.state_dict().items()}
    # Theirs keep eps as a buffer and have all biases.
    for key, module in model.named_modules():
        if isinstance(module, FRN):
            state[f"{key.removeprefix('net.')}.eps"] = torch.tensor([module.eps])
    if layout == "kornia":
        # The biases that a network of ours may leave out are zeros, which change nothing.
        whole = nets.create(network).state_dict()
        state |= {k: torch.zeros_like(v) for k, v in whole.items() if k.endswith(".bias") and k not in state}
        if network == "hardnet8" and (shape := tuple(state.get("components", torch.empty(0)).shape)) != PROJECTION:
            raise InputError(f"{model.name}: its projection is {shape}, that of kornia's HardNet8 {PROJECTION}")
    content: dict[str, Any] = state
    if layout == "authors" and network == "sdgmnet":
        twice = {f"features.{int(key[5]) - 1}{key[6:]}": value for key, value in state.items()}
        content = {"model_state_dict": state | twice}
    elif layout == "authors" and network == "hardnet":
        content = {"state_dict": state}
    with atomic_file(out) as temporary:
        torch.save(content, temporary)
    return f"kornia.feature.{KORNIA[network]}" if layout == "kornia" else f"the released {network}"
