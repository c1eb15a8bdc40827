"""Files of every kind that is parsed, changed by chance: they are used or refused by one line, and nothing else."""

from __future__ import annotations

import copy
import json
import sqlite3
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from made_registration import asked, made
from synthetic import colmap_project, small_patch_set

from tiepoint import nets
from tiepoint.data.fetching.download import Origin, _note, _origin
from tiepoint.data.fetching.fetch import RECORD, Record, _read_record
from tiepoint.data.readers.colmap import read_project
from tiepoint.data.sampling import PairSampler
from tiepoint.errors import InputError
from tiepoint.models.load import load
from tiepoint.models.weights import save_weights
from tiepoint.patches import PatchSet
from tiepoint.registration.result import Registration
from tiepoint.training.folder import LOG, read_checkpoint, restore
from tiepoint.training.recipe import Optimizer, Recipe
from tiepoint.training.recipe_file import check, dump_recipe, load_recipe
from tiepoint.training.trainer import Trainer

chance = settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
DEEP: Any = []
for _ in range(200):
    DEEP = [DEEP]
ODD: list[Any] = [
    None, True, -1, 0, 7, 2**40, 10**30, -0.5, 1e300, float("nan"), float("inf"), "", "x", "é\n", [], {}, [1], {"a": 1},
    [[]], [None, "x"], DEEP,
]  # fmt: skip


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every table or list within, itself included, with each of its keys."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [place for key, held in inner for place in ((value, key), *places(held))]


def mutated(data: st.DataObject, value: Any, odd: list[Any] = ODD) -> Any:
    """A copy of nested tables and lists with one or two values replaced, removed or added."""
    value = copy.deepcopy(value)
    for _ in range(data.draw(st.integers(1, 2))):
        holder, key = data.draw(st.sampled_from(places(value) or [([None], 0)]))
        kind = data.draw(st.sampled_from(["replace", "replace", "remove", "add"]))
        if kind == "remove":
            del holder[key]
        elif kind == "add" and isinstance(holder, list):
            holder.insert(0, data.draw(st.sampled_from(odd)))
        else:
            holder[key] = copy.deepcopy(data.draw(st.sampled_from(odd)))
    return value


def refused(use: Callable[[], Any]) -> str:
    """What an InputError says, in one line; empty where there is none."""
    try:
        use()
    except InputError as error:
        said = str(error)
    else:
        said = ""
    assert len(said.splitlines()) <= 1, said
    assert len(said) < 2000
    return said


@chance
@given(data=st.data())
def test_cards(tmp_path: Path, data: st.DataObject) -> None:
    card = {"name": "w", "network": "tfeat", "options": {"dropout": 0.1}, "support": 12.0, "upright": 64, "data": {}}
    path = tmp_path / "w.safetensors"
    if not path.exists():
        save_weights(path, nets.create("tfeat"), card)
    path.with_suffix(".json").write_text(json.dumps(mutated(data, card)), encoding="utf-8")
    refused(lambda: load(path))


@chance
@given(data=st.data())
def test_manifests(tmp_path: Path, data: st.DataObject) -> None:
    folder = tmp_path / "set"
    if not folder.exists():
        small_patch_set(folder, points=4, per_point=2, margin=1.5)
        (folder / "kept").write_bytes((folder / "manifest.json").read_bytes())
    manifest = mutated(data, json.loads((folder / "kept").read_text(encoding="utf-8")))
    (folder / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    refused(lambda: (repr(PatchSet.open(folder, verify=True)), PatchSet.open(folder).image_names))


@chance
@given(data=st.data(), warp=st.booleans())
def test_saved_registrations(tmp_path: Path, data: st.DataObject, warp: bool) -> None:
    path = tmp_path / "saved.json"
    found = made(np.eye(3) if warp else None, count=6, outliers=2)
    Registration(**{**vars(found), "agreement": asked(2, 2)}).save(path)
    path.write_text(json.dumps(mutated(data, json.loads(path.read_text(encoding="utf-8")))), encoding="utf-8")
    refused(lambda: (repr(loaded := Registration.load(path)), loaded.to_json(), loaded._repr_html_()))


@chance
@given(data=st.data())
def test_records_of_downloads(tmp_path: Path, data: st.DataObject) -> None:
    record = asdict(Record("http://a", "0" * 32, "0" * 64, True, 2, 100))
    (tmp_path / RECORD).write_text(json.dumps(mutated(data, record)), encoding="utf-8")
    refused(lambda: _read_record(tmp_path))
    origin = asdict(Origin("http://a", '"1"', 100))
    _note(tmp_path / "part").write_text(json.dumps(mutated(data, origin)), encoding="utf-8")
    found = _origin(tmp_path / "part", "http://a")
    assert found is None or (isinstance(found.validator, str) and (found.total is None or found.total >= 0))


@chance
@given(data=st.data())
def test_recipes(tmp_path: Path, data: st.DataObject) -> None:
    recipe = yaml.safe_load(dump_recipe(Recipe(data="set", optimizer=Optimizer(rates={"layer1": 0.1}))))
    path = tmp_path / "r.yaml"
    path.write_text(yaml.safe_dump(mutated(data, recipe)), encoding="utf-8")
    refused(lambda: check(load_recipe(path)))


@chance
@given(data=st.data(), seed=st.integers(0, 2**32))
def test_recipes_of_any_bytes(tmp_path: Path, data: st.DataObject, seed: int) -> None:
    content = bytearray(dump_recipe(Recipe(data="set")).encode())
    for _ in range(data.draw(st.integers(1, 9))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.sampled_from(b"&*[{:-!|>'\"\0\n\xff"))
    path = tmp_path / "r.yaml"
    path.write_bytes(bytes(content))
    refused(lambda: check(load_recipe(path)))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Recipe, Path]:
    """A trainer of TFeat by Adam after one step, its recipe, and the path of its checkpoint."""
    folder = tmp_path_factory.mktemp("run")
    patches = small_patch_set(folder / "set", points=8, per_point=2, margin=1.5)
    recipe = Recipe(
        data="set", network="tfeat", steps=2, batch=4, compile="off", device="cpu", optimizer=Optimizer("adam", lr=1e-3)
    )
    sampler = PairSampler(patches.points, 4, 1)
    trainer = Trainer(recipe, patches, sampler, torch.device("cpu"))
    trainer.begin(2)
    trainer.step(0)
    (folder / LOG).write_text("x" * 100)
    kept = {"elapsed": 1.0, "window": [0.5, 1], "best": {"fpr95": 0.5, "step": 1}, "log_bytes": 100}
    state = {**trainer.state_dict(), **kept, "step": 1, "steps": 2, "best_net": trainer.net.state_dict()}
    torch.save(state, folder / "good.pt")
    return trainer, recipe, folder / "checkpoint.pt"


def state_of(path: Path) -> dict[str, Any]:
    """The good state, whatever became of the trainer since."""
    state: dict[str, Any] = torch.load(path.with_name("good.pt"))
    return {key: dict(value) if isinstance(value, dict) else value for key, value in state.items()}


def test_a_good_checkpoint_is_read(run: tuple[Trainer, Recipe, Path]) -> None:
    trainer, recipe, path = run
    torch.save(state_of(path), path)
    state = read_checkpoint(path, recipe)
    assert state is not None
    restore(trainer, state, path)


@chance
@given(data=st.data())
def test_checkpoints(run: tuple[Trainer, Recipe, Path], data: st.DataObject) -> None:
    trainer, recipe, path = run
    wrong = [torch.zeros(3), torch.zeros(1).expand(10**12), torch.full((32,), torch.nan), torch.zeros(1, device="meta")]
    state = mutated(data, state_of(path), ODD + wrong)
    torch.save(state, path)

    def use() -> None:
        read = read_checkpoint(path, recipe)
        assert read is not None
        restore(trainer, read, path)
        trainer.step(1)  # what was taken can be gone on with

    refused(use)
    trainer.begin(2)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": -5}, "steps is -5"),
        ({"steps": 3}, "its steps are not the recipe's"),
        ({"step": 99}, "its step lies beyond its last"),
        ({"log_bytes": 10**12}, "is shorter than it says"),
        ({"log_bytes": -1}, "log_bytes is -1"),
        ({"best_net": {}}, "its best weights are missing"),
        ({"best": {"fpr95": float("nan"), "step": 1}}, "best.fpr95 is nan"),
    ],
)
def test_a_checkpoint_that_contradicts_itself(
    run: tuple[Trainer, Recipe, Path], change: dict[str, Any], words: str
) -> None:
    _, recipe, path = run
    torch.save({**state_of(path), **change}, path)
    assert words in refused(lambda: read_checkpoint(path, recipe))
    assert "remove it to start again" in refused(lambda: read_checkpoint(path, recipe))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("colmap") / "p"
    colmap_project(folder, points=20, cameras=2)
    return folder


@chance
@given(data=st.data())
def test_models_of_colmap(project: Path, data: st.DataObject) -> None:
    for name in ("images.bin", "points3D.bin"):
        path = project / "sparse" / name
        whole = path.read_bytes()
        content = bytearray(whole)
        for _ in range(data.draw(st.integers(1, 4))):
            content[data.draw(st.integers(0, min(len(content), 200) - 1))] = data.draw(st.integers(0, 255))
        path.write_bytes(bytes(content[: data.draw(st.integers(len(content) // 2, len(content)))]))

        def use() -> None:
            opened = read_project(project)
            opened.positions()
            for image in opened.images:
                opened.frames(image)

        try:
            refused(use)
        finally:
            path.write_bytes(whole)


WRONG_SQL = [
    "update keypoints set data=7",
    "update keypoints set data='text'",
    "update keypoints set data=zeroblob(300000000)",
    "update keypoints set rows=null",
    "update keypoints set rows=-1",
    "update keypoints set rows=1e12",
    "update keypoints set cols='x'",
    "alter table keypoints rename to k; create view keypoints as with recursive c(x) as (select 1 union all select x +"
    " 1 from c) select image_id, rows, (select max(x) from c) as cols, data from k",
]


@pytest.mark.parametrize("sql", WRONG_SQL)
def test_databases_of_colmap(tmp_path: Path, sql: str) -> None:
    colmap_project(tmp_path / "p", points=20, cameras=2)
    database = sqlite3.connect(tmp_path / "p" / "database.db")
    database.executescript(sql)
    database.close()
    opened = read_project(tmp_path / "p")
    assert "database.db: " in refused(lambda: opened.frames(opened.images[0]))
