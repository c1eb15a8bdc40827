"""The training loop: one linear function, resumable at any step.

Every random draw of a step comes from (seed, step), so a run that was interrupted, by whatever means, goes on from its last
checkpoint as if nothing had happened: on the CPU its weights end bit for bit as those of a run that was left alone.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from tiepoint import nets
from tiepoint.data.augmentation import augment
from tiepoint.data.sampling import PairSampler, split_points
from tiepoint.errors import InputError
from tiepoint.files import write_json, write_text
from tiepoint.losses import SDGM
from tiepoint.models import save_weights
from tiepoint.patches import PatchSet
from tiepoint.training import checkpoint, schedule
from tiepoint.training.recipe import Recipe, check, dump_recipe
from tiepoint.training.validation import ValidationPairs

AUGMENTATION_STREAM, DROPOUT_STREAM, CALIBRATION_STEPS = 1, 2, 12


@dataclass(frozen=True)
class Status:
    """What a progress display may show."""

    step: int
    steps: int
    rate: float  # pairs a second since the last report
    loss: float
    fpr95: float | None  # of the last validation


def train(recipe: Recipe, out: Path, report: Callable[[Status], None] = lambda status: None) -> dict[str, Any]:
    """Train a describer by `recipe` into the folder `out`, or go on with the run that is there.

    The folder holds recipe.yaml (resolved), run.json (versions, machine), log.jsonl, checkpoint.pt, and at the end
    model.safetensors with its card model.json and result.json.

    Returns:
        the result: steps, seconds, and the validation FPR95 of the weights kept.

    Raises:
        InputError: a value out of range, data that cannot be used, a folder that holds another run, or a loss that is not finite.
    """
    check(recipe)
    device = torch.device(("cuda" if torch.cuda.is_available() else "cpu") if recipe.device == "auto" else recipe.device)
    data = PatchSet.open(recipe.data, verify=True)
    training_rows, held_rows = split_points(data.points, recipe.validation.fraction, recipe.seed)
    sampler = PairSampler(data.points, recipe.batch, recipe.seed, training_rows)
    validation = ValidationPairs(data, held_rows, recipe.validation, recipe.seed, device)
    run = _Run(recipe, data, sampler, device)
    _claim(out, recipe, data, device)
    state = checkpoint.read_checkpoint(out / "checkpoint.pt")
    steps = state["steps"] if state else recipe.steps or run.calibrate(60 * (recipe.minutes or 0))
    run.begin(steps)
    start, elapsed, window, best = 0, 0.0, [0.0, 0], {"fpr95": 2.0, "step": 0}
    best_net: dict[str, Tensor] = {}
    if state:
        run.load_state_dict(state)
        start, elapsed, window, best, best_net = (state[k] for k in ("step", "elapsed", "window", "best", "best_net"))
    log = _Log(out, state["log_bytes"] if state else 0, recipe.tensorboard)
    began = saved = reported = time.monotonic()
    reported_step, fpr95 = start, best["fpr95"] if state else None
    for step in range(start, steps):
        loss = run.step(step)
        window = [window[0] + loss, window[1] + 1]
        done, now = step + 1, time.monotonic()
        if done % recipe.log_every == 0 or done == steps:
            rate = (done - reported_step) * recipe.batch / max(now - reported, 1e-9)
            mean = float(window[0]) / window[1]
            if mean != mean or abs(mean) == float("inf"):
                raise InputError(f"loss is not finite near step {done}: lower optimizer.lr or use precision fp32")
            log.write({"step": done, "loss": mean, "lr": run.lr, "statistics": run.loss.statistics.tolist()})
            report(Status(done, steps, rate, mean, fpr95))
            window, reported, reported_step = [0.0, 0], now, done
        if schedule.is_due(done, steps, recipe.validation.every):
            fpr95 = validation.fpr95(run.net)
            log.write({"step": done, "validation_fpr95": fpr95})
            if fpr95 <= best["fpr95"] or recipe.selection == "last":
                best = {"fpr95": fpr95, "step": done}
                best_net = {k: v.detach().clone() for k, v in run.net.state_dict().items()}
        if now - saved > recipe.checkpoint_seconds or done == steps:
            progress = {"step": done, "steps": steps, "elapsed": elapsed + now - began, "window": window}
            kept = {"best": best, "best_net": best_net, "log_bytes": log.size()}
            checkpoint.save_checkpoint(out / "checkpoint.pt", {**run.state_dict(), **progress, **kept})
            saved = time.monotonic()
    log.close()
    run.net.load_state_dict(best_net)
    result = {
        "steps": steps,
        "batch": recipe.batch,
        "seconds": round(elapsed + time.monotonic() - began, 1),
        "selection": recipe.selection,
        "selected_step": best["step"],
        "validation_fpr95": best["fpr95"],
        "validation": f"{validation.count} held-out points, second patch with {recipe.validation.noise} frame noise",
    }
    save_weights(out / "model.safetensors", run.net, _card(recipe, data, device, result))
    write_json(out / "result.json", result)
    return result


class _Run:
    """Network, loss and optimiser of a run."""

    def __init__(self, recipe: Recipe, data: PatchSet, sampler: PairSampler, device: torch.device) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.data, self.sampler, self.device = recipe, data, sampler, device
        self.net = nets.create(recipe.network, dropout=recipe.dropout).to(device)
        self.size = int(self.net.input_size)  # type: ignore[arg-type]
        self.forward: nn.Module = torch.compile(self.net) if schedule.should_compile(recipe.compile, device) else self.net  # type: ignore[assignment]
        self.begin(1)

    def begin(self, steps: int) -> None:
        """Start the loss and the optimiser of a run of `steps` steps."""
        recipe, self.steps = self.recipe, steps
        options = {k: v for k, v in vars(recipe.loss).items() if k not in ("memory", "initial_power")}
        self.loss = SDGM(
            momentum=max(0.0, 1 - 1 / max(recipe.loss.memory * steps, 1)),
            initial_power=recipe.loss.initial_power * recipe.batch,
            **options,
        ).to(self.device)
        parameters = self.net.parameters()
        self.optimizer: torch.optim.Optimizer
        if recipe.optimizer.name == "sgd":
            o = recipe.optimizer
            self.optimizer = torch.optim.SGD(parameters, lr=o.lr, momentum=o.momentum, weight_decay=o.weight_decay)
        else:
            self.optimizer = torch.optim.Adam(parameters, lr=recipe.optimizer.lr, weight_decay=recipe.optimizer.weight_decay)

    @property
    def lr(self) -> float:
        """Learning rate of the last step."""
        return float(self.optimizer.param_groups[0]["lr"])

    def step(self, step: int) -> float:
        """One optimiser step; return the loss."""
        recipe, progress = self.recipe, step / self.steps
        rows = self.sampler(step)
        pairs = torch.from_numpy(self.data.patches[rows.ravel()]).to(self.device, non_blocking=True)
        generator = schedule.generator(self.device, recipe.seed, step, AUGMENTATION_STREAM)
        patches = augment(pairs.unflatten(0, (-1, 2)), recipe.augmentation, self.data.margin, self.size, generator)
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.optimizer.lr * schedule.factor(recipe.optimizer.schedule, progress)
        torch.manual_seed(schedule.seed(recipe.seed, step, DROPOUT_STREAM))
        self.net.train()
        with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=recipe.precision == "bf16"):
            anchor, positive = (self.forward(p) for p in patches)  # two passes: batch norm sees each side by itself, as published
        loss: Tensor = self.loss(anchor, positive, progress)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        return float(loss.detach())

    def calibrate(self, seconds: float) -> int:
        """Steps that fit `seconds`, from the time of a few, whose effect is undone."""
        before = {k: v.clone() for k, v in self.net.state_dict().items()}
        for step in range(2 + CALIBRATION_STEPS):
            if step == 2:  # the first steps compile and fill caches
                began = time.monotonic()
            self.step(0)
        rate = CALIBRATION_STEPS / (time.monotonic() - began)
        self.net.load_state_dict(before)
        return max(1, round(seconds * rate))

    def state_dict(self) -> dict[str, Any]:
        """All that a step depends on."""
        return {"net": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "loss": self.loss.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """The reverse."""
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.loss.load_state_dict(state["loss"])


class _Log:
    """JSON lines, cut back to the checkpoint on resumption, and TensorBoard events if wanted."""

    def __init__(self, out: Path, keep: int, tensorboard: bool) -> None:
        self.path = out / "log.jsonl"
        self.path.touch()
        with self.path.open("r+b") as file:
            file.truncate(keep)
        self.file = self.path.open("a", encoding="utf-8")
        self.events: Any = None
        if tensorboard:
            from torch.utils.tensorboard import SummaryWriter

            self.events = SummaryWriter(out / "tensorboard")

    def write(self, entry: dict[str, Any]) -> None:
        """Add a line."""
        self.file.write(json.dumps(entry) + "\n")
        self.file.flush()
        if self.events:
            for key, value in entry.items():
                if key != "step" and not isinstance(value, list):
                    self.events.add_scalar(key, value, entry["step"])

    def size(self) -> int:
        """Bytes written."""
        return self.path.stat().st_size

    def close(self) -> None:
        """Close the files."""
        self.file.close()
        if self.events:
            self.events.close()


def _claim(out: Path, recipe: Recipe, data: PatchSet, device: torch.device) -> None:
    """Make the run folder, or check that the run in it is this one."""
    text = dump_recipe(recipe)
    path = out / "recipe.yaml"
    if not path.exists():
        if out.exists() and any(out.iterdir()):
            raise InputError(f"{out} exists and is no run: name another folder with --out")
        write_json(out / "run.json", {"environment": checkpoint.environment(device), "data": data.manifest})
        write_text(path, text)
    elif path.read_text(encoding="utf-8") != text:
        old = dict(line.split(":", 1) for line in path.read_text(encoding="utf-8").splitlines() if ":" in line)
        new = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        key = next((k.strip() for k in new if new[k] != old.get(k)), "a key")
        raise InputError(f"{out} holds a run of another recipe ({key} differs): name another folder with --out")


def _card(recipe: Recipe, data: PatchSet, device: torch.device, result: dict[str, Any]) -> dict[str, Any]:
    import yaml

    return {
        "name": recipe.network,
        "network": recipe.network,
        "options": {"dropout": recipe.dropout},
        "support": data.support,
        "data": {k: data.manifest[k] for k in ("counts", "provenance", "licence")},
        "recipe": yaml.safe_load(dump_recipe(replace(recipe, data=Path(recipe.data).name))),
        "environment": checkpoint.environment(device),
        "result": result,
    }
