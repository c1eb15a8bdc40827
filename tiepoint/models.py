"""Describers as users hold them, with their weights, cards and the geometry of their patches; loading of all models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.allocator import raise_thresholds
from tiepoint.errors import InputError
from tiepoint.files import atomic_file, write_json
from tiepoint.nets.checkpoints import load_checkpoint, read_torch
from tiepoint.nets.classical import SIFT
from tiepoint.nets.inputs import check_shape, prepare
from tiepoint.nets.opencv import KINDS, OpenCV
from tiepoint.nets.relation import deploy
from tiepoint.relater import LearnedRelater, Precision

WEIGHTS = Path(__file__).parent / "weights"
CPU_CHUNK, GPU_CHUNK = 32, 8192
TORCH_FILES = (".pt", ".pth", ".params")


class Describer(Protocol):
    """What every describer offers, learned or classical."""

    name: str
    support: float
    dimension: int
    unit: bool

    def __call__(self, patches: Tensor) -> Tensor:
        """Patches (N, 1, S, S), float in 0..1 -> descriptors (N, dimension), float32, of length 1 where `unit`."""
        ...


def sees_upright(model: object) -> bool:
    """Whether a describer sees patches of one width, not turned by their keypoints, as cut from aligned images."""
    return getattr(model, "upright", None) is not None


class LearnedDescriber:
    """A describer network with weights.

    Attributes:
        name: of the network or the weights.
        net: the network, in evaluation mode.
        support: width of a patch in sigmas.
        input_size: side at the network's input; larger patches are reduced to it with antialiasing.
        dimension: of a descriptor.
        unit: whether descriptors have length 1; TFeat's have not.
        card: what the weights' card says.
        upright: width in pixels of the patches that it was trained on, where those were all upright and of one width;
            None where they followed the keypoints' scale and orientation.
        chunk: patches a call of the network; bounds memory, and on the CPU small chunks are the fast ones.
    """

    def __init__(
        self, net: nn.Module, name: str, card: Mapping[str, Any] | None = None, chunk: int | None = None
    ) -> None:
        self.name = name
        self.net = net.eval().to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # a seventh faster on the CPU
        self.card = dict(card or {})
        self.support = float(self.card.get("support", 12.0))
        self.input_size = int(net.input_size)  # type: ignore[arg-type]
        self.dimension = int(net.dimension)  # type: ignore[arg-type]
        self.unit = bool(net.unit)
        self.upright = None if self.card.get("upright") is None else float(self.card["upright"])
        self.chunk = chunk
        raise_thresholds()

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = next(self.net.parameters()).device
        return device

    def to(self, device: str | torch.device) -> LearnedDescriber:
        """Move the weights."""
        self.net.to(device)
        return self

    @torch.inference_mode()
    def __call__(self, patches: Tensor) -> Tensor:
        """Describe `patches` (N, 1, S, S), float in 0..1, uint8 or uint16, S >= input_size.

        Returns (N, dimension), float32, on the describer's device: unit vectors, but for TFeat, whose entries lie in
        -1..1 (see `unit`), and for a patch that a network maps to zero, as fresh weights do with a constant one, which
        stays zero. Raises InputError for another shape or type.
        """
        check_shape(patches, self.name, self.input_size)
        if not len(patches):
            return torch.empty(0, self.dimension, device=self.device)
        chunk = self.chunk or (CPU_CHUNK if self.device.type == "cpu" else GPU_CHUNK)
        return torch.cat(
            [self.net(prepare(part.to(self.device), self.input_size)) for part in torch.split(patches, chunk)]
        )


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
            see `tiepoint.nets.opencv`), a .safetensors file with its card beside it, a run folder of `tiepoint train`,
            or a torch checkpoint (.pt, .pth, .params) by the authors or from kornia, see
            `tiepoint.nets.checkpoints.load_checkpoint`.
        device: where to put the weights.
        precision: of a relater, see `LearnedRelater`; describers take "fp32" alone.
        compile: likewise; describers are not compiled.

    Raises:
        InputError: nothing of that name, a file that does not fit, or `precision` or `compile` for a describer.
    """
    name, path = str(name_or_path), weights_path(name_or_path)
    model: Describer
    if name in ("sift", "rootsift"):
        model = SIFT(root=name == "rootsift")
    elif name in KINDS:
        model = OpenCV(name)
    elif path.suffix in TORCH_FILES:
        network, net = load_checkpoint(read_torch(path), name)
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
    if isinstance(model, LearnedRelater):
        raise InputError(f"{_title(describer)}: relates pairs of patches and describes none: give a describer")
    return model


def load_relater(
    relater: str | Path | Describer | LearnedRelater, device: str | torch.device = "cpu"
) -> LearnedRelater:
    """Load a relater by name or path, or return a loaded one. Raises InputError for a describer, and as `load`."""
    model = load(relater, device) if isinstance(relater, str | Path) else relater
    if not isinstance(model, LearnedRelater):
        raise InputError(f"{_title(relater)}: describes single patches and relates no pairs: give a relater")
    return model


def _title(model: str | Path | Describer | LearnedRelater) -> str:
    """What errors call a model: as it was given, or its name."""
    return str(model) if isinstance(model, str | Path) else model.name


def weights_path(name_or_path: str | Path) -> Path:
    """The file of shipped weights, of a run folder, or the path itself."""
    shipped = WEIGHTS / f"{name_or_path}.safetensors"
    path = shipped if shipped.is_file() else Path(name_or_path)
    return path / "model.safetensors" if path.is_dir() else path


def save_weights(path: Path, net: nn.Module, card: Mapping[str, Any], half: bool = False) -> None:
    """Write `path` (.safetensors) and the card beside it (.json), each atomically; `half` stores float16."""
    from safetensors.torch import save

    state = {k: v.detach().cpu().contiguous() for k, v in net.state_dict().items()}
    if half:
        state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    write_json(path.with_suffix(".json"), card)
    with atomic_file(path) as temporary:
        temporary.write_bytes(save(state))


def read_weights(path: Path) -> tuple[nn.Module, dict[str, Any]]:
    """Read weights and their card. Raises InputError that names the file at fault."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    card_path = path.with_suffix(".json")
    try:
        card = json.loads(card_path.read_text(encoding="utf-8"))
        with torch.device("meta"):  # no time on fresh weights
            net = nets.create(card["network"], **card.get("options", {}))
            if card.get("deployed"):
                net = deploy(net)
    except FileNotFoundError:
        raise InputError(f"{card_path} is missing: weights need their card beside them") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{card_path} is no card of weights ({error})") from None
    try:
        state = load_file(path)
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, assign=True)
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path}: no weights of {card['network']} ({str(error).splitlines()[0]})") from None
    return net, card
