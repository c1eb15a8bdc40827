"""The run folder: recipe, record of machine and versions, checkpoints, log and card."""

import io
import json
import os
import platform
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated, Any, TypedDict

import cv2
import numpy as np
import torch
import yaml
from torch import Tensor

from tiepoint import nets
from tiepoint.errors import InputError
from tiepoint.files import HOLDER, LOCK, atomic_file, is_ours, open_no_link, read_plain, write_json, write_text
from tiepoint.parsed import Count, Number, conform
from tiepoint.patches import PatchSet
from tiepoint.training.recipe import Recipe, network_options
from tiepoint.training.recipe_file import dump_recipe, load_recipe
from tiepoint.version import __version__

LOG = "log.jsonl"
AGAIN = "remove it to start again"


def claim(out: Path, recipe: Recipe, data: PatchSet, device: torch.device) -> None:
    """Make the run folder, which this run holds, or check that the run in it is this one.

    A folder in which a run was killed before it wrote its recipe is made anew.
    """
    text = dump_recipe(recipe)
    path = out / "recipe.yaml"
    begun = is_ours(out / "run.json")
    left = {LOCK, LOCK + HOLDER, *(["run.json", "recipe.yaml"] if begun else [])}
    if not (begun and path.exists()):
        if out.exists() and any(entry.name not in left for entry in out.iterdir()):
            raise InputError(f"{out} exists and is not a run: name another folder with --out")
        write_json(out / "run.json", {"environment": environment(device), "data": data.manifest})
        write_text(path, text)
    elif (old := load_recipe(path)) != recipe:
        mine, theirs = dict(_flat(recipe)), dict(_flat(old))
        key = next(key for key in {**mine, **theirs} if mine.get(key, ...) != theirs.get(key, ...))
        raise InputError(f"{out} holds a run of another recipe ({key} differs): name another folder with --out")


def _flat(recipe: Recipe) -> list[tuple[str, Any]]:
    """Keys with their values, those of a table behind a dot."""
    tables = {k: v if isinstance(v, dict) else {"": v} for k, v in asdict(recipe).items()}
    return [(f"{k}.{name}".removesuffix("."), value) for k, table in tables.items() for name, value in table.items()]


def card(recipe: Recipe, data: PatchSet, device: torch.device, result: dict[str, Any]) -> dict[str, Any]:
    """What the weights' card says."""
    relates = recipe.network in nets.RELATERS
    return {
        "name": recipe.network,
        "network": recipe.network,
        "options": network_options(recipe),
        **({"deployed": True} if relates else {"support": data.support}),
        "upright": data.manifest["provenance"].get("sampling", {}).get("upright"),
        "spectra": data.manifest["spectra"],
        "data": {k: data.manifest[k] for k in ("counts", "provenance", "licence")},
        "recipe": yaml.safe_load(dump_recipe(_without_folders(recipe))),
        "environment": environment(device),
        "result": result,
    }


def _without_folders(recipe: Recipe) -> Recipe:
    """The recipe with the names of its files alone: where they lie is private."""
    validation = replace(recipe.validation, test_data=Path(recipe.validation.test_data).name)
    data, start, perceptual = (Path(folder).name for folder in (recipe.data, recipe.start, recipe.perceptual))
    return replace(recipe, data=data, start=start, perceptual=perceptual, validation=validation)


def epoch_folder(out: Path, step: int, keep: int) -> Path:
    """A folder for the weights of step number `step`; of those before it the last `keep` - 1 remain."""
    folder = out / "epochs" / f"{step:09d}"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.parent.glob("[0-9]" * len(folder.name)))[:-keep]:
        shutil.rmtree(old)
    return folder


class Log:
    """JSON lines, cut back to the checkpoint on resumption, and TensorBoard events if wanted."""

    def __init__(self, out: Path, keep: int, tensorboard: bool) -> None:
        self.path = out / LOG
        self.file = open(self.path, "a", encoding="utf-8", opener=open_no_link)  # noqa: SIM115
        self.file.truncate(keep)
        self.events: Any = None
        if tensorboard:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise InputError("recipe key tensorboard: pip install 'tiepoint[tb]', or switch it off") from None
            self.events = SummaryWriter(out / "tensorboard")

    def write(self, entry: dict[str, Any]) -> None:
        """Add a line. In TensorBoard every number gets a curve, those of a list KEY as KEY/0, KEY/1 ..."""
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        if self.events:
            for key, value in entry.items():
                curves = {f"{key}/{i}": x for i, x in enumerate(value)} if isinstance(value, list) else {key: value}
                for name, number in curves.items():
                    if name != "step":
                        self.events.add_scalar(name, number, entry["step"])

    def size(self) -> int:
        """Bytes on the disk."""
        os.fsync(self.file.fileno())  # a checkpoint that outlives a crash finds what it counts on
        return self.path.stat().st_size

    def close(self) -> None:
        """Close the files."""
        self.file.close()
        if self.events:
            self.events.close()


def save_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write a checkpoint atomically. Raises OSError if the disk is full, which torch's own writer would not."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    with atomic_file(path) as temporary:
        temporary.write_bytes(buffer.getbuffer())


class _Best(TypedDict):
    fpr95: Annotated[float, (0, 2)]  # 2 before the first validation
    step: Count


class Checkpoint(TypedDict):
    """What a run goes on from, see `tiepoint.training.loop`."""

    net: dict[str, Tensor]
    optimizer: dict[str, Any]  # see `Trainer.load_state_dict`, as for the shapes of what the network and loss hold
    loss: dict[str, Tensor]
    step: Count
    steps: Annotated[int, (1, 2**48)]
    elapsed: Annotated[float, (0, 1e12)]
    window: tuple[Number, Count]
    best: _Best
    best_net: dict[str, Tensor]
    log_bytes: Count


def read_checkpoint(path: Path, recipe: Recipe) -> dict[str, Any] | None:
    """Read the checkpoint of a run by `recipe`; None if there is no file yet. Raises InputError for any other file."""
    if not path.exists():
        return None
    try:
        content = read_plain(path)
    except InputError as error:
        raise InputError(f"{error}: {AGAIN}") from None
    state: dict[str, Any] = dict(conform(content, Checkpoint, path, AGAIN))
    log = path.with_name(LOG)
    doubts = {
        "its steps are not the recipe's": recipe.steps not in (None, state["steps"]),
        "its step lies beyond its last": not state["best"]["step"] <= state["step"] <= state["steps"],
        "its best weights are missing": not state["best_net"] and state["best"]["fpr95"] <= 1,
        f"{LOG} is shorter than it says": state["log_bytes"] > (log.stat().st_size if log.exists() else 0),
    }
    for doubt in (words for words, holds in doubts.items() if holds):
        raise InputError(f"{path}: is no checkpoint of this run ({doubt}): {AGAIN}")
    return state


def restore(run: Any, state: dict[str, Any], path: Path) -> None:
    """Give a `Trainer` the state of a checkpoint. Raises InputError for one of another network, optimiser or loss."""
    try:
        run.load_state_dict(state)
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise InputError(f"{path}: is no checkpoint of this run ({reason}): {AGAIN}") from None


def environment(device: torch.device) -> dict[str, Any]:
    """Versions and machine, for the run's record."""
    return {
        "tiepoint": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "opencv": cv2.__version__,
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
    }
