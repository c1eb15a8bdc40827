"""Loading of describers and relaters, by name or path."""

from pathlib import Path
from typing import Literal, overload

import torch

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.models.classical import SIFT
from tiepoint.models.describer import Describer, LearnedDescriber
from tiepoint.models.device import choose_device
from tiepoint.models.engine import Precision
from tiepoint.models.opencv import KINDS, OpenCV
from tiepoint.models.relater import LearnedRelater
from tiepoint.models.weights import TORCH_FILES, WEIGHTS, read_weights, weights_path
from tiepoint.nets.checkpoints import KERAS_FILES, load_file

# The names whose kind a type checker knows; any name or path can be loaded.
DescriberName = Literal[
    "sdgmnet", "sdgmnet-any", "sdgmnet-optsar", "sdgmnet-visir", "sdgmnet-visnir", "sift", "rootsift"
]
RelaterName = Literal["rrlnet-visnir"]


@overload
def load(name_or_path: DescriberName, device: str | torch.device = "cpu") -> Describer: ...
@overload
def load(
    name_or_path: RelaterName,
    device: str | torch.device = "cpu",
    *,
    precision: Precision = "fp32",
    compile: bool = False,
) -> LearnedRelater: ...
@overload
def load(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    *,
    precision: Precision = "fp32",
    compile: bool = False,
) -> Describer | LearnedRelater: ...
def load(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    *,
    precision: Precision = "fp32",
    compile: bool = False,
) -> Describer | LearnedRelater:
    """Load a describer, or a relater where the weights are of a network that relates pairs of patches.

    Args:
        name_or_path: a shipped one ("sdgmnet"), a classical one ("sift", "rootsift"), one of OpenCV's ("opencv-vgg",
            see `tiepoint.models.opencv`), a .safetensors file with its card beside it, a run folder of `tiepoint
            train`, or a checkpoint by the authors or from kornia: torch's (.pt, .pth, .params, .ckpt ...) or
            Keras's (.h5, .hdf5), see `tiepoint.nets.checkpoints.load_file`.
        device: where to put the weights; "auto" takes a GPU where there is one.
        precision: of a relater, see `LearnedRelater`; describers take "fp32" alone.
        compile: compile a relater, see `LearnedRelater`; describers are not compiled.

    Raises:
        InputError: nothing of that name, a file that does not fit, a device that is absent, or `precision` or `compile`
            for a describer.
    """
    device = choose_device(device)
    name, path = str(name_or_path), weights_path(name_or_path)
    model: Describer
    if name in ("sift", "rootsift"):
        model = SIFT(root=name == "rootsift")
    elif name in KINDS:
        model = OpenCV(name)
    elif path.suffix in (*TORCH_FILES, *KERAS_FILES):
        network, net = load_file(path)
        if network in nets.RELATERS:
            return LearnedRelater(net, path.stem, {"network": network}, precision=precision, compile=compile).to(device)
        model = LearnedDescriber(net, path.stem, {"network": network}).to(device)
    elif path.is_file():
        net, card = read_weights(path)
        own = str(card.get("name", path.stem))
        if card["network"] in nets.RELATERS:
            return LearnedRelater(net, own, card, precision=precision, compile=compile).to(device)
        model = LearnedDescriber(net, own, card).to(device)
    else:
        choices = sorted([*(p.stem for p in WEIGHTS.glob("*.safetensors")), "sift", "rootsift", *KINDS])
        raise InputError(f"{name}: no such describer, relater or file: there are {', '.join(choices)}, or give a path")
    if precision != "fp32" or compile:
        raise InputError(f"{name}: is a describer: precision and compile are for relaters")
    return model


def load_describer(describer: str | Path | Describer | LearnedRelater, device: str | torch.device = "cpu") -> Describer:
    """Load a describer by name or path, or return a loaded one. Raises InputError for a relater, and as `load`."""
    model = load(describer, device) if isinstance(describer, str | Path) else describer
    if model.relates is True:
        raise InputError(f"{_title(describer)}: is a relater of patch pairs: give a describer")
    return model


def load_relater(
    relater: str | Path | Describer | LearnedRelater, device: str | torch.device = "cpu"
) -> LearnedRelater:
    """Load a relater by name or path, or return a loaded one. Raises InputError for a describer, and as `load`."""
    model = load(relater, device) if isinstance(relater, str | Path) else relater
    if model.relates is False:
        raise InputError(f"{_title(relater)}: is a describer of single patches: give a relater")
    return model


def _title(model: str | Path | Describer | LearnedRelater) -> str:
    """What errors call a model: as it was given, or its name."""
    return str(model) if isinstance(model, str | Path) else model.name
