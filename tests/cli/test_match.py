"""`tiepoint match` with a relater, and with turns."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from tiepoint import nets
from tiepoint.cli import main
from tiepoint.features.describe import describe
from tiepoint.features.detectors import DETECTORS
from tiepoint.matching.match import match
from tiepoint.models.weights import save_weights

pytestmark = pytest.mark.usefixtures("quick_weights")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, quick_weights: None) -> Path:
    """a.png, b.png (a shifted by 6 px in x) and yes.safetensors, a relater that takes every pair for a match."""
    path = tmp_path_factory.mktemp("match")
    random = np.random.default_rng(0)
    layers = [cv2.GaussianBlur(random.normal(size=(160, 200)), (0, 0), sigma) for sigma in (1.5, 3, 6)]
    image = (128 + 30 * sum(layer / layer.std() for layer in layers)).clip(0, 255).astype(np.uint8)
    for name, part in {"a": image[:, 6:], "b": image[:, :-6]}.items():
        assert cv2.imwrite(str(path / f"{name}.png"), part)
    net = nets.create("kglnet")
    last = [module for module in net.modules() if isinstance(module, torch.nn.Linear)][-1]
    with torch.no_grad():
        last.bias += 20
    save_weights(path / "yes.safetensors", net, {"network": "kglnet", "spectra": ["opt", "sar"], "name": "yes"})
    return path


def run(folder: Path, capfd: pytest.CaptureFixture[str], *options: str) -> tuple[int, str, str]:
    images = str(folder / "a.png"), str(folder / "b.png")
    code = main(["match", *images, "--describer", "rootsift", "--max-keypoints", "60", *options])
    captured = capfd.readouterr()
    return code, captured.out, captured.err


def test_pixels_of_a_named_value_have_no_matches(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain, marked = (json.loads(run(folder, capfd, "--json", *more)[1]) for more in ((), ("--nodata", "nan", "255")))
    assert marked["matches"] < plain["matches"]
    code, _, err = run(folder, capfd, "--nodata", "inf")
    assert code == 2
    assert "nodata is inf: give a number" in err


def test_a_relater_adds_the_probability(folder: Path, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    relater = ("--relater", str(folder / "yes.safetensors"), "--top-k", "1", "--spectra", "sar", "opt")
    code, out, err = run(folder, capfd, *relater, "--json", "--out", str(tmp_path / "out"))
    assert (code, err) == (0, "")
    result: dict[str, Any] = json.loads(out)
    points = np.array(result["points"])
    assert points.shape == (result["matches"], 6)
    assert points[:, 5].min() > 0.9
    right = np.abs(points[:, 0] - points[:, 2] + 6) < 1
    assert right.sum() > 15
    assert json.loads((tmp_path / "out" / "result.json").read_text()) == result
    assert (tmp_path / "out" / "matches.png").is_file()
    code, out, _ = run(folder, capfd, *relater)
    assert code == 0
    assert "probabilities" in out
    code, out, _ = run(folder, capfd)
    assert "probabilities" not in out


def test_the_ratio_rule_is_taken(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    plain = json.loads(run(folder, capfd, "--json", "--ratio", "0.7")[1])
    apart = json.loads(run(folder, capfd, "--json", "--ratio", "0.7", "--ratio-rule", "fginn")[1])
    assert {len(row) for row in plain["points"]} == {5}
    assert apart["matches"] >= plain["matches"]


def test_detector_and_affine_shape_are_taken(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, _ = run(folder, capfd, "--detector", "gradient", "--affine", "--json")
    assert code == 0
    images = folder / "a.png", folder / "b.png"
    found = match(*images, "rootsift", detector="gradient", affine=True, max_keypoints=60)
    assert json.loads(out)["points"] == found.to_json()["points"]
    assert len(found) > 10
    with pytest.raises(SystemExit):
        main(["match", "--help"])
    assert set(DETECTORS) <= set(re.findall(r"\w+", capfd.readouterr().out))


@pytest.mark.parametrize("command", ["match", "register"])
def test_a_uniform_selection_is_taken(folder: Path, command: str, capfd: pytest.CaptureFixture[str]) -> None:
    images = folder / "a.png", folder / "b.png"
    words = (*map(str, images), "--describer", "rootsift", "--max-keypoints", "60", "--json", "--uniform")
    assert main([command, *words, *(["--no-refine", "--min-inliers", "4"] if command == "register" else [])]) == 0
    points = json.loads(capfd.readouterr().out)["points" if command == "match" else "tie_points"]
    places = [describe(image, "rootsift", max_keypoints=60, uniform=True).points for image in images]
    for found, wanted in zip(np.hsplit(np.array(points)[:, :4], 2), places, strict=True):
        assert (np.linalg.norm(found[:, None] - wanted, axis=2).min(axis=1) < 1e-3).all()
    assert len(points) > 10
    plain = describe(images[0], "rootsift", max_keypoints=60).points
    assert (np.linalg.norm(np.array(points)[:, None, :2] - plain, axis=2).min(axis=1) > 1).any()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--rotations", "8"), "rotations is 8: they need two images and a describer of upright patches"),
        (("--relater", "rootsift"), "rootsift: is a describer of single patches: give a relater"),
        (("--relater", "rrlnet-visnir", "--spectra", "vis", "sar"), "relates vis and nir, not vis and sar"),
        (("--top-k", "0"), "top_k is 0"),
        (("--min-probability", "2"), "min_probability is 2"),
        (("--ratio-rule", "third"), "ratio-rule"),
        (("--detector", "surf"), "no detector 'surf': there are sift"),
    ],
)
def test_what_cannot_be_done_exits_with_2_and_one_line(
    folder: Path, options: tuple[str, ...], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    code, out, err = run(folder, capfd, "--json", *options)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
