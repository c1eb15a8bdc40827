"""Training runs: they learn, stop cleanly, and resume bit for bit, even after kill -9."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from synthetic import small_patch_set

from tiepoint import nets
from tiepoint.cli import main
from tiepoint.data.sampling import PairSampler
from tiepoint.errors import InputError
from tiepoint.files import locked
from tiepoint.models.load import load
from tiepoint.patches import PatchSet
from tiepoint.training.folder import epoch_folder
from tiepoint.training.loop import Status, train
from tiepoint.training.recipe import Optimizer, Recipe, Validation
from tiepoint.training.recipe_file import RECIPES, dump_recipe, load_recipe
from tiepoint.training.schedule import factor, is_due
from tiepoint.training.trainer import Trainer
from tiepoint.version import __version__

pytestmark = pytest.mark.whole
DESCRIBERS = [p for p in sorted(RECIPES.rglob("*.yaml")) if load_recipe(p).network in nets.DESCRIBERS]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> PatchSet:
    return small_patch_set(tmp_path_factory.mktemp("data") / "set", points=60, per_point=3, margin=1.5)


def recipe_for(data: PatchSet, **changes: object) -> Recipe:
    base = Recipe(data=str(data.directory), steps=6, batch=8, compile="off", checkpoint_seconds=0.0, log_every=2)
    return replace(base, validation=Validation(fraction=0.2, every=0.34), **changes)  # type: ignore[arg-type]


def weights(run: Path) -> dict[str, torch.Tensor]:
    return load_file(run / "model.safetensors")


def same(a: Path, b: Path) -> bool:
    left, right = weights(a), weights(b)
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


class Stop(Exception):
    pass


def stop_at(step: int) -> object:
    def report(status: Status) -> None:
        if status.step >= step:
            raise Stop

    return report


@pytest.mark.parametrize("path", DESCRIBERS, ids=lambda p: f"{p.parent.name}-{p.stem}")
def test_every_recipe_of_a_describer_trains(path: Path, data: PatchSet) -> None:
    shortened = {"data": str(data.directory), "steps": 4, "minutes": None, "batch": 6, "compile": "off"}
    recipe = replace(load_recipe(path), **shortened, precision="bf16" if path.stem == "sdgmnet-scenes" else "fp32")
    run = Trainer(recipe, data, PairSampler(data.points, 6, 0), torch.device("cpu"))
    run.begin(4)
    before = [parameter.detach().clone() for parameter in run.net.parameters()]
    assert math.isfinite(run.step(0) + run.step(1))
    assert any(not torch.equal(old, new) for old, new in zip(before, run.net.parameters(), strict=True))
    assert all(torch.isfinite(parameter).all() for parameter in run.net.parameters())


def test_the_weights_of_the_last_validations_are_kept_on_request(data: PatchSet, tmp_path: Path) -> None:
    recipe = recipe_for(data, keep=2, selection="last")
    train(recipe, tmp_path / "run")
    kept = sorted((tmp_path / "run" / "epochs").iterdir())
    assert [int(folder.name) for folder in kept] == [5, 6]
    assert same(kept[1], tmp_path / "run")
    assert not same(kept[0], tmp_path / "run")
    assert load(kept[0]).card["result"]["selected_step"] == 5  # type: ignore[attr-defined]


def test_one_cycle_rises_and_falls() -> None:
    rates = [factor(Optimizer(schedule="one-cycle"), p) for p in (0, 0.15, 0.3, 0.65, 1)]
    assert rates == pytest.approx([0.04, 0.52, 1, 0.5, 0])
    assert factor(Optimizer(schedule="constant"), 0.9) == 1
    assert factor(Optimizer(stages=30, decay=0.8), 0.5) == pytest.approx(0.8**15)


def test_a_run_writes_its_folder_and_its_weights_load(data: PatchSet, tmp_path: Path) -> None:
    seen: list[Status] = []
    result = train(recipe_for(data), tmp_path / "run", seen.append)
    assert [s.step for s in seen] == [2, 4, 6]
    assert {p.name for p in (tmp_path / "run").iterdir()} == {
        "recipe.yaml", "run.json", "log.jsonl", "checkpoint.pt", "model.safetensors", "model.json", "result.json",
    }  # fmt: skip
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == {"tiepoint": __version__, **result}
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [e["step"] for e in lines if "loss" in e] == [2, 4, 6]
    validated = [e["validation_fpr95"] for e in lines if "validation_fpr95" in e]
    assert len(validated) == 3
    assert result["validation_fpr95"] == min(validated)
    describer = load(tmp_path / "run")
    assert describer(torch.rand(2, 1, 64, 64)).shape == (2, 128)
    card = json.loads((tmp_path / "run" / "model.json").read_text())
    assert card["recipe"]["seed"] == 1
    assert card["data"]["counts"]["points"] == 60


@pytest.mark.slow
def test_training_separates_held_out_points(tmp_path: Path) -> None:
    noisy = small_patch_set(tmp_path / "set", points=200, per_point=2, margin=1.5, noise=120)
    settings = {"validation": Validation(fraction=0.3, every=0.04), "optimizer": Optimizer(schedule="linear")}
    recipe = replace(recipe_for(noisy), steps=24, batch=24, log_every=24, **settings)
    train(recipe, tmp_path / "run")
    lines = (json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines())
    first, *_, last = [e["validation_fpr95"] for e in lines if "validation_fpr95" in e]
    assert last < 0.5 * first


def test_an_interrupted_run_ends_with_the_same_bits(data: PatchSet, tmp_path: Path) -> None:
    recipe = recipe_for(data, dropout=0.3)
    train(recipe, tmp_path / "whole")
    with pytest.raises(Stop):
        train(recipe, tmp_path / "broken", stop_at(4))  # type: ignore[arg-type]
    assert not (tmp_path / "broken" / "model.safetensors").exists()
    train(recipe, tmp_path / "broken")
    assert same(tmp_path / "whole", tmp_path / "broken")
    assert (tmp_path / "whole" / "log.jsonl").read_text() == (tmp_path / "broken" / "log.jsonl").read_text()


@pytest.mark.slow
def test_a_killed_run_ends_with_the_same_bits(data: PatchSet, tmp_path: Path) -> None:
    recipe = replace(recipe_for(data), steps=30, log_every=1)
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe))
    command = [sys.executable, "-m", "tiepoint", "train", str(tmp_path / "r.yaml"), "--out"]
    assert main([*command[3:], str(tmp_path / "whole")]) == 0
    process = subprocess.Popen([*command, str(tmp_path / "killed")], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    log = tmp_path / "killed" / "log.jsonl"
    while not log.exists() or log.read_bytes().count(b"\n") < 5:
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    assert main([*command[3:], str(tmp_path / "killed")]) == 0
    assert same(tmp_path / "whole", tmp_path / "killed")


def test_another_recipe_or_folder_is_refused(data: PatchSet, tmp_path: Path) -> None:
    train(replace(recipe_for(data), steps=1), tmp_path / "run")
    with pytest.raises(InputError, match=r"another recipe \(seed differs\)"):
        train(replace(recipe_for(data), steps=1, seed=2), tmp_path / "run")
    with pytest.raises(InputError, match=r"another recipe \(options\.bias differs\)"):
        train(replace(recipe_for(data), steps=1, options={"bias": False}), tmp_path / "run")
    train(replace(recipe_for(data), steps=1, options={"bias": False}), tmp_path / "without")
    with pytest.raises(InputError, match=r"another recipe \(options\.bias differs\)"):
        train(replace(recipe_for(data), steps=1), tmp_path / "without")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x").touch()
    with pytest.raises(InputError, match="is not a run"):
        train(recipe_for(data), tmp_path / "other")
    (tmp_path / "run" / "checkpoint.pt").write_bytes(b"broken")
    with pytest.raises(InputError, match=r"checkpoint\.pt: damaged.*remove it"):
        train(replace(recipe_for(data), steps=1), tmp_path / "run")


def test_a_folder_of_a_run_that_was_killed_at_its_start_is_taken(data: PatchSet, tmp_path: Path) -> None:
    recipe, out = replace(recipe_for(data), steps=1, keep=1), tmp_path / "run"
    out.mkdir()
    for name in (".lock", ".lock-holder"):
        (out / name).touch()
    (out / "run.json").write_text('{"mine": 1}')
    with pytest.raises(InputError, match="is not a run"):
        train(recipe, out)
    (out / "run.json").write_text('{"environment": {"tiepoint": "0.1.0"}}')
    (out / ".recipe.yaml-tiepoint").mkdir()
    with locked(out), pytest.raises(InputError, match="another run is writing there"):
        train(recipe, out)
    for name in ("log.jsonl", "epochs"):
        assert not (out / name).exists()
    train(recipe, out)
    assert {path.name for path in out.iterdir()} == {
        "checkpoint.pt", "epochs", "log.jsonl", "model.json", "model.safetensors", "recipe.yaml", "result.json",
        "run.json",
    }  # fmt: skip
    (out / "epochs" / "0-mine").mkdir()
    (out / "log.jsonl").rename(tmp_path / "log")
    (out / "log.jsonl").symlink_to(tmp_path / "log")
    with pytest.raises(InputError, match="is a link, which is not followed"):
        train(recipe, out)
    assert epoch_folder(out, 2, 1).is_dir()
    assert {path.name for path in (out / "epochs").iterdir()} == {"0-mine", "000000002"}


def test_a_loss_that_is_not_finite_ends_the_run(data: PatchSet, tmp_path: Path) -> None:
    recipe = recipe_for(data)
    with pytest.raises(InputError, match=r"not finite.*optimizer\.lr"):
        train(replace(recipe, steps=30, optimizer=replace(recipe.optimizer, lr=1e6)), tmp_path / "run")
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_minutes_become_a_number_of_steps(data: PatchSet, tmp_path: Path) -> None:
    recipe = replace(recipe_for(data), steps=None, minutes=0.02)
    result = train(recipe, tmp_path / "run")
    assert 1 <= result["steps"] < 1000
    assert torch.load(tmp_path / "run" / "checkpoint.pt", weights_only=True)["step"] == result["steps"]


def test_data_that_cannot_be_trained_on_is_named(tmp_path: Path) -> None:
    single = small_patch_set(tmp_path / "single", points=20, per_point=1)
    with pytest.raises(InputError, match="0 points occur at least twice"):
        train(recipe_for(single), tmp_path / "run")
    few = small_patch_set(tmp_path / "few", points=5, per_point=2)
    with pytest.raises(InputError, match="fewer than a batch of 8"):
        train(recipe_for(few), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_tensorboard_gets_the_curves(data: PatchSet, tmp_path: Path) -> None:
    train(replace(recipe_for(data), steps=2, tensorboard=True), tmp_path / "run")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "run" / "tensorboard")).Reload()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    numbers = {}
    for line in lines:
        for key, value in line.items():
            if key != "step":
                named = {f"{key}/{i}": v for i, v in enumerate(value)} if isinstance(value, list) else {key: value}
                numbers |= {name: (line["step"], pytest.approx(number)) for name, number in named.items()}
    assert {"loss", "lr", "validation_fpr95", "statistics/0", "statistics/7"} <= numbers.keys()
    curves = {name: events.Scalars(name)[-1] for name in events.Tags()["scalars"]}
    assert {name: (event.step, event.value) for name, event in curves.items()} == numbers


def test_a_full_disk_is_one_line_and_the_run_goes_on_later(data: PatchSet, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(dump_recipe(recipe_for(data)))
    command = [sys.executable, "-m", "tiepoint", "train", str(tmp_path / "r.yaml"), "--out", str(tmp_path / "run")]
    limit = "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)); "
    limit += "sys.argv = ['tiepoint', *sys.argv[1:]]; runpy.run_module('tiepoint', run_name='__main__')"
    full = subprocess.run([sys.executable, "-c", limit, *command[3:]], capture_output=True, text=True)
    assert full.returncode == 2
    assert full.stderr.splitlines()[-1].startswith("tiepoint: error:")
    assert "Traceback" not in full.stderr
    assert {p.name for p in (tmp_path / "run").iterdir()} <= {"recipe.yaml", "run.json", "log.jsonl"}
    assert main(command[3:]) == 0
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_schedules_are_functions_of_progress() -> None:
    assert [factor(Optimizer(), p) for p in (0, 0.0999, 0.1, 0.5, 0.95)] == [1, 1, 0.5, 0.5**5, 0.5**9]
    assert factor(Optimizer(schedule="linear"), 0.25) == 0.75
    assert factor(Optimizer(schedule="cosine"), 0.5) == pytest.approx(0.5)
    due = [done for done in range(1, 101) if is_due(done, 100, 0.3)]
    assert due == [30, 60, 90, 100]
