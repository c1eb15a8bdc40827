from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from synthetic_phototour import LIST, phototour_set

from tiepoint import nets
from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.evaluation.phototour.fpr95 import evaluate_phototour
from tiepoint.evaluation.phototour.table import COLUMNS, HEADER, Model, make_rows, read_models, set_of
from tiepoint.models.load import load
from tiepoint.models.weights import save_weights
from tiepoint.patches import PatchSet

CPU = torch.device("cpu")


def model(name: str, training: str | None, selection: str | None = "last", kind: str = "net") -> Model:
    return Model(name, training, SimpleNamespace(name=kind), selection)  # type: ignore[arg-type]


def weights(path: Path, seed: int, result: dict[str, Any] | None = None, data: dict[str, Any] | None = None) -> Path:
    """Weights of an untrained network, as a run leaves them."""
    torch.manual_seed(seed)
    path.mkdir()
    card = {"name": "sdgmnet", "network": "sdgmnet", "data": data or {}, "result": result}
    save_weights(path / "model.safetensors", nets.create("sdgmnet"), card)
    return path


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, PatchSet]:
    folder = tmp_path_factory.mktemp("sets")
    return {
        name: phototour_set(folder / name, points=8, seed=k, noise=60.0, provenance={"name": name})
        for k, name in enumerate(("liberty", "notredame", "yosemite"))
    }


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("runs")
    result = {"selection": "best"}
    return {
        "a": weights(folder / "a", 0, result, {"provenance": {"name": "liberty"}}),
        "b": weights(folder / "b", 1, result),
        "c": weights(folder / "c", 2, result),
        "d": weights(folder / "d", 3, result),
    }


def test_the_columns_are_in_the_literatures_order() -> None:
    assert HEADER == ("ND→LIB", "YOS→LIB", "LIB→ND", "YOS→ND", "LIB→YOS", "ND→YOS", "mean")


def test_a_row_puts_figures_into_columns_and_takes_means() -> None:
    models = [model("l", "liberty"), model("n1", "notredame"), model("n2", "notredame"), model("y", "yosemite")]
    (row,) = make_rows(models)
    measured = {
        ("n1", "liberty"): 1.0, ("n2", "liberty"): 2.0, ("y", "liberty"): 3.0, ("l", "notredame"): 4.0,
        ("y", "notredame"): 5.0, ("l", "yosemite"): 6.0, ("n1", "yosemite"): 7.0, ("n2", "yosemite"): 9.0,
    }  # fmt: skip
    assert row.values(measured) == [1.5, 3.0, 4.0, 5.0, 6.0, 8.0, pytest.approx(27.5 / 6)]
    assert (row.name, row.selection) == ("net trained on PhotoTour", "last")
    del measured["y", "liberty"]
    assert row.values(measured) == [1.5, None, 4.0, 5.0, 6.0, 8.0, None]  # no mean of five columns


def test_a_describer_trained_elsewhere_has_one_figure_a_test_set() -> None:
    trained, sift = make_rows([model("sift", None, None), model("l", "liberty")])
    measured = {("sift", test): float(k) for k, test in enumerate(("liberty", "notredame", "yosemite"))}
    assert sift.values(measured) == [0.0, None, 1.0, None, 2.0, None, 1.0]
    assert (sift.name, sift.selection) == ("sift", None)
    assert trained.values(measured) == [None] * 7


def test_rules_of_selection_are_never_mixed_and_ten_means_ten() -> None:
    with pytest.raises(InputError, match="l is 'last', y is 'unknown'"):
        make_rows([model("l", "liberty"), model("y", "yosemite", None)])
    ten = [model(f"l{k}", "liberty", "mean of last 10") for k in range(10)]
    assert make_rows(ten)[0].selection == "mean of last 10"
    with pytest.raises(InputError, match="there are 10 of liberty, 1 of yosemite"):
        make_rows([*ten, model("y", "yosemite", "mean of last 10")])


def test_a_manifest_names_one_of_the_three_sets_or_none() -> None:
    assert set_of({}) is set_of(None) is set_of({"provenance": {"name": "paris"}}) is None
    assert set_of({"provenance": {"name": "yosemite_harris"}}) == "yosemite"


def test_models_are_read_with_their_training_sets(runs: dict[str, Path]) -> None:
    a, b = str(runs["a"]), str(runs["b"])
    read = read_models([a, f"notredame={b}", "sift"], CPU)
    assert [(m.name, m.training, m.selection) for m in read] == [
        (a, "liberty", "best on validation"),  # its card names the set
        (b, "notredame", "best on validation"),
        ("sift", None, None),
    ]
    assert [m.selection for m in read_models([a, "sift"], CPU, "best on test")] == ["best on test", None]


def test_wrong_models_are_named(runs: dict[str, Path]) -> None:
    a, b = str(runs["a"]), str(runs["b"])
    with pytest.raises(InputError, match=f"its card says that it was trained on liberty: write liberty={a}"):
        read_models([f"yosemite={a}"], CPU)
    with pytest.raises(InputError, match=f"model {b} is given twice"):
        read_models([f"yosemite={b}", f"liberty={b}"], CPU)
    with pytest.raises(InputError, match=r"model lib=x: write SET=PATH with one of liberty, notredame, yosemite"):
        read_models(["lib=x"], CPU)
    with pytest.raises(InputError, match="no model"):
        read_models([], CPU)


def folders(sets: dict[str, PatchSet]) -> list[str]:
    return [word for name, data in sets.items() for word in (f"--{name}", str(data.directory))]


def test_the_command_prints_one_json_object(
    sets: dict[str, PatchSet], runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = [str(runs["a"]), f"notredame={runs['b']}", f"yosemite={runs['c']}", f"yosemite={runs['d']}", "rootsift"]
    verb = ["evaluate", "phototour", *folders(sets), "--device", "cpu"]
    assert main([*verb, "--model", *words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["protocol"], report["variant"], report["columns"]) == ("phototour", "fpr95", list(HEADER))
    splits = [(r["model"], r["split"]) for r in report["results"]]
    assert len(splits) == 4 * 2 + 3  # no model is tested on the set that it was trained on
    assert (str(runs["a"]), "liberty -> liberty") not in splits
    assert ("rootsift", "elsewhere -> yosemite") in splits
    trained, sift = report["systems"]
    assert (trained["system"], sift["system"]) == ("sdgmnet trained on PhotoTour", "rootsift")
    assert (trained["selection"], "test_selected" in trained) == ("best on validation", False)
    assert set(trained["figures"]) == {"fpr95_hardnet", "fpr95_hynet", "fpr95_interpolate", "fdr95"}
    describers = {name: load(name) for names in trained["models"].values() for name in names}
    scores = {test: evaluate_phototour(data, describers) for test, data in sets.items()}
    for figure, values in trained["figures"].items():
        assert values[6] == pytest.approx(np.mean(values[:6]))
        for (training, test), value in zip(COLUMNS, values, strict=False):
            each = [scores[test][name].figures()[figure] for name in trained["models"][training]]
            assert value == pytest.approx(np.mean(each))
    assert main([*verb, "--model", *words[:3], "--selection", "best on test"]) == 0
    table = capsys.readouterr().out
    assert table.count("sdgmnet trained on PhotoTour") == 5
    assert "chosen on the test data, these figures flatter" in table
    assert "a false discovery rate" in table


def test_the_command_measures_the_other_protocol(sets: dict[str, PatchSet], capsys: pytest.CaptureFixture[str]) -> None:
    verb = ["evaluate", "phototour", "--liberty", str(sets["liberty"].directory), "--protocol", "revisited"]
    assert main([*verb, "--model", "sift", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    (result,) = report["results"]
    assert (result["split"], result["images"], result["pairs"]) == ("elsewhere -> liberty", 3, 48)
    assert report["systems"][0]["figures"]["mean_ap"] == [result["mean_ap"], *[None] * 6]
    assert main([*verb, "--model", "sift", "--resize", "cv2"]) == 0
    assert "as released" in capsys.readouterr().out


def test_the_command_says_what_is_wrong_in_one_line(
    sets: dict[str, PatchSet], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def complaint(*words: str, model: str = "sift") -> str:
        assert main(["evaluate", "phototour", *words, "--model", model]) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    liberty = str(sets["liberty"].directory)
    assert "no set to test on" in complaint()
    assert "holds liberty, but is given as --yosemite" in complaint("--yosemite", liberty)
    assert "trained on liberty, the only set to test on" in complaint("--liberty", liberty, model="liberty=sdgmnet")
    bare = phototour_set(tmp_path / "bare")
    (bare.directory / f"pairs-{LIST}.npy").unlink()
    assert "tiepoint data phototour" in complaint("--liberty", liberty, "--notredame", str(bare.directory))
