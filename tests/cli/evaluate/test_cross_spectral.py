from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cross_set import Correlation, cross_set

from tiepoint.cli import main
from tiepoint.models import load as loading


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cross_set(tmp_path_factory.mktemp("cross") / "set", noise=60.0).directory


@pytest.fixture
def _relater(monkeypatch: pytest.MonkeyPatch) -> None:
    """`load` knows "chosen", a relater whose card says that it was chosen on the test data, and "foreign"."""
    real = loading.load

    def load(name: str, device: Any = "cpu") -> Any:
        if name not in ("chosen", "foreign"):
            return real(name, device)
        relater = Correlation(("opt", "sar") if name == "foreign" else ("vis", "nir"))
        relater.card = {"result": {"selection": "best on test"}} if name == "chosen" else {}
        return relater

    monkeypatch.setattr(loading, "load", load)


@pytest.mark.usefixtures("_relater")
def test_the_command_prints_one_json_object_draws_and_writes_a_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "cross-spectral", str(folder), "--model", "chosen", "rootsift", "--count", "15", "--seed", "2"]
    plot, page = tmp_path / "roc.png", tmp_path / "worst.html"
    assert main([*words, "--plot", str(plot), "--page", str(page), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["models"] == ["chosen", "rootsift"]
    assert (report["protocol"], report["variant"], report["split"]) == ("cross-spectral", "seeded pairs", "set")
    assert (report["count"], report["seed"], report["rule"]) == (15, 2, "interpolate")
    assert report["spectra"] == ["vis", "nir"]
    chosen, rootsift = report["results"]
    assert (chosen["model"], chosen["selection"], chosen["test_selected"]) == ("chosen", "best on test", True)
    assert 0 < chosen["ece"] < 1
    assert chosen["temperature"] == 2.0
    assert (rootsift["model"], rootsift["selection"]) == ("rootsift", None)
    assert not {"test_selected", "ece"} & set(rootsift)
    assert rootsift["mean"] == pytest.approx((rootsift["fpr95"]["field"] + rootsift["fpr95"]["urban"]) / 2)
    assert rootsift["pairs"]["field"] == {"matches": 15, "non_matches": 15}
    assert plot.read_bytes().startswith(b"\x89PNG")
    assert "Worst pairs of set" in page.read_text(encoding="utf-8")
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []


@pytest.mark.usefixtures("_relater")
def test_the_table_has_a_column_a_category_and_marks_what_flatters(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "cross-spectral", str(folder), "--model", "rootsift", "chosen"]
    assert main([*words, "--json"]) == 0
    results = {result["model"]: result for result in json.loads(capsys.readouterr().out)["results"]}
    assert main(words) == 0
    out = capsys.readouterr().out
    header = next(line for line in out.splitlines() if "model" in line)
    assert [word.strip(" ┃") for word in header.split("┃")[1:-1]] == ["model", "field", "urban", "mean", "AP %"]
    row = next(line for line in out.splitlines() if "rootsift" in line)
    percents = [float(cell) for cell in row.split("│")[2:-1]]
    found = results["rootsift"]
    rates = [*found["fpr95"].values(), found["mean"], found["average_precision"]]
    np.testing.assert_allclose(percents, [100 * rate for rate in rates], atol=0.006)
    assert "chosen: weights best on test: chosen on the test data, these figures flatter" in out
    assert "rootsift: weights" not in out
    assert "at T = 1" in out
    assert "vis and nir, seed 0, rule interpolate" in out


def test_a_set_with_pairs_of_its_own_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = [(0, 1, 1), (2, 3, 1), (0, 3, 0), (2, 1, 0)]
    folder = cross_set(tmp_path / "set", ("field/0",), pairs=own).directory
    words = ["evaluate", "cross-spectral", str(folder), "--rule", "fdr"]
    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["models"] == ["rootsift"]
    assert (report["variant"], report["count"], report["seed"]) == ("pairs of the data set", None, None)
    assert set(report["results"][0]["fdr95"]) == {"field"}
    assert main(words) == 0
    out = capsys.readouterr().out
    assert "compare it with no FPR95" in out
    assert "its own pairs" in out


@pytest.mark.usefixtures("_relater")
def test_the_command_says_what_is_wrong_in_one_line(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["evaluate", "cross-spectral", str(folder), "--model", "foreign"]
    assert main(words) == 2
    complaint = capsys.readouterr().err
    assert "foreign: relates opt and sar" in complaint
    assert len(complaint.splitlines()) == 1
    assert main([*words, "--any-spectra", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["results"][0]["model"] == "foreign"
    for option, name, text in (("--plot", "roc.txt", "no figure"), ("--page", "worst.png", "not the name of a page")):
        assert main([*words, option, str(tmp_path / name)]) == 2
        assert text in capsys.readouterr().err
    assert main(["evaluate", "cross-spectral", str(tmp_path / "none")]) == 2
    assert "is not a PatchSet" in capsys.readouterr().err
