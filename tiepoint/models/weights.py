"""Weights on disk: a .safetensors file with its card beside it, shipped by name or written by a training run."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NotRequired, TypedDict

import torch
from torch import nn

from tiepoint import nets
from tiepoint.errors import InputError, reason
from tiepoint.files import atomic_file, write_json
from tiepoint.nets.relation import deploy
from tiepoint.parsed import Positive, check_tensors, read_json

WEIGHTS = Path(__file__).parent / "weights"

TORCH_FILES = (".pt", ".pth", ".params", ".ckpt", ".tar", ".bin")


class Card(TypedDict):
    """What stands beside weights."""

    name: NotRequired[str]
    network: str
    options: NotRequired[dict[str, Any]]
    deployed: NotRequired[bool]
    support: NotRequired[Positive]  # sigmas
    upright: NotRequired[Positive | None]  # px
    spectra: NotRequired[list[str]]
    temperature: NotRequired[Positive]


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
    from safetensors.torch import load

    card_path = path.with_suffix(".json")
    if not card_path.is_file():
        raise InputError(f"{card_path} is missing: weights need their card beside them")
    try:
        card: dict[str, Any] = dict(read_json(card_path, Card, "give the card that was written with the weights"))
        with torch.device("meta"):  # no time on fresh weights
            net = nets.create(card["network"], **card.get("options", {}))
            if card.get("deployed"):
                net = deploy(net)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{card_path} is no card of weights ({str(error).removeprefix(f'{card_path}: ')})") from None
    try:
        state = load(path.read_bytes())  # whose own reader takes names in UTF-8 alone
        net.load_state_dict({k: v.float() if v.is_floating_point() else v for k, v in state.items()}, assign=True)
        check_tensors(state, path)
    except (SafetensorError, RuntimeError, OSError) as error:
        raise InputError(f"{path}: no weights of {card['network']} ({reason(error)})") from None
    return net, card
