"""What users give that is no pair to register, or not as it should be: the library and `tiepoint register`."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import tifffile
from image_bytes import png
from register_inputs import error
from repeated import bricks, chessboard

from tiepoint.cli import main
from tiepoint.errors import InputError
from tiepoint.files import write_text
from tiepoint.geometry.robust import corner_error
from tiepoint.images.pixels import write_image
from tiepoint.registration.register import Registration, register

Texture = Callable[..., np.ndarray]
QUICK: dict[str, Any] = {"global_search": False, "refine": False}
WIDTH, HEIGHT = 320, 240
LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from tiepoint.cli import main
sys.exit(main(sys.argv[2:]))
"""


@pytest.fixture(scope="module")
def image(texture: Texture) -> np.ndarray:
    found: np.ndarray = texture(0, WIDTH, HEIGHT)
    return found


@pytest.fixture(scope="module")
def folder(image: np.ndarray, texture: Texture, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png, b.png (a moved by 6 and 4 px), other.png, and files that cannot be used."""
    path = tmp_path_factory.mktemp("bad")
    write_image(path / "a.png", image)
    write_image(path / "b.png", np.roll(image, (4, 6), (0, 1)))
    write_image(path / "other.png", texture(9, WIDTH, HEIGHT))
    nodata = [(42113, "s", 2, b"7\0", False)]
    tifffile.imwrite(path / "nodata.tif", np.full((HEIGHT, WIDTH), 7, dtype=np.uint16), extratags=nodata)
    tifffile.imwrite(path / "nan.tif", np.full((HEIGHT, WIDTH), np.nan, dtype=np.float32))
    tifffile.imwrite(path / "truncated.tif", image)
    whole = (path / "truncated.tif").read_bytes()
    (path / "truncated.tif").write_bytes(whole[: len(whole) // 2])
    (path / "bomb.png").write_bytes(png(60_000, 60_000))
    return path


def run(*arguments: object) -> int:
    """The command, quickly."""
    return main(["register", *map(str, arguments), "--describer", "rootsift", "--no-global-search", "--no-refine"])


def off(found: Registration, truth: np.ndarray) -> float:
    assert found.accepted, found.reasons
    assert found.matrix is not None
    return corner_error(found.matrix, truth, WIDTH, HEIGHT)


def moved(x: float, y: float, zoom: float = 1.0) -> np.ndarray:
    return np.array([[zoom, 0, x], [0, zoom, y], [0, 0, 1.0]])


def other_spectrum(grey: np.ndarray) -> np.ndarray:
    """Dark for bright, another curve, noise."""
    noise = np.random.default_rng(1).normal(0, 0.02, grey.shape)
    return np.rint(255 * ((1 - grey / 255.0) ** 1.5 + noise).clip(0, 1)).astype(np.uint8)


def test_images_of_other_size_and_aspect_register(image: np.ndarray) -> None:
    twice = cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
    assert off(register(image, twice, "rootsift"), moved(0.5, 0.5, 2.0)) < 0.5
    assert off(register(image, image[20:236, :100].copy(), "rootsift"), moved(0, -20)) < 0.5
    assert off(register(image, image[60:140].copy(), "rootsift"), moved(0, -60)) < 0.5


@pytest.mark.slow
def test_the_spectra_may_be_swapped(image: np.ndarray) -> None:
    second = np.roll(other_spectrum(image), (5, -7), (0, 1))
    there, back = register(image, second, "rootsift"), register(second, image, "rootsift")
    assert off(there, moved(-7, 5)) < 0.5
    assert off(back, moved(7, -5)) < 0.5
    assert there.confidence == pytest.approx(back.confidence, abs=0.1)


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, QUICK])
def test_an_image_registers_to_itself_by_the_identity(image: np.ndarray, options: dict[str, Any]) -> None:
    for same in (image, image.astype(np.uint16) * 200):
        found = register(same, same.copy(), "rootsift", **options)
        assert off(found, np.eye(3)) < 1e-3
        assert found.rms is not None
        assert found.rms < 1e-3
        assert found.confidence > 0.95


def test_one_file_may_be_both_images(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run(folder / "a.png", folder / "a.png", "--json") == 0
    np.testing.assert_allclose(json.loads(capfd.readouterr().out)["matrix"], np.eye(3), atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize(("way", "seed"), [("left-right", 0), ("left-right", 2), ("upside-down", 0), ("transposed", 0)])
def test_a_mirrored_image_is_refused(texture: Texture, way: str, seed: int) -> None:
    one = texture(seed, WIDTH, HEIGHT)
    two = one.T.copy() if way == "transposed" else np.flip(one, way == "left-right")
    for options in ({}, QUICK):
        found = register(one, two, "rootsift", **options)
        assert not found.accepted
        assert found.matrix is None
        assert found.reasons
        assert found.confidence < 0.5


def test_an_image_on_its_head_is_no_mirrored_one(image: np.ndarray) -> None:
    turned = np.array([[-1, 0, WIDTH - 1], [0, -1, HEIGHT - 1], [0, 0, 1.0]])
    assert off(register(image, np.ascontiguousarray(image[::-1, ::-1]), "rootsift"), turned) < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("shift", [(0, 0), (130, 66)])
@pytest.mark.parametrize("make", ["chessboard", "bricks"])
def test_repeated_texture_is_refused_for_it(make: str, shift: tuple[int, int]) -> None:
    """A shift by a period cannot be told from none, and a confident answer would be a guess."""
    seen = [chessboard(16, s, 4, k) if make == "chessboard" else bricks(s, 4, k) for k, s in enumerate([(0, 0), shift])]
    found = register(*seen, "rootsift")
    assert not found.accepted
    assert found.confidence < 0.5
    assert found.matrix is None
    alone = register(*seen, "rootsift", **QUICK)
    assert not alone.accepted or off(alone, moved(-shift[0], -shift[1])) < 1


def test_repetition_is_said() -> None:
    found = register(bricks(), bricks((10, 6), seed=1), "rootsift")
    assert found.reasons[0].startswith("confidence 0.10")
    assert found.reasons[1].startswith("the texture repeats every 31 px")  # half a brick along and a row down


@pytest.mark.slow
@pytest.mark.parametrize(("size", "seed"), [((200, 200), 1), ((200, 200), 6), ((320, 240), 1)])
def test_images_with_nothing_in_common_are_refused(texture: Texture, seed: int, size: tuple[int, int]) -> None:
    noise = np.random.default_rng(seed).integers(0, 256, size[::-1], dtype=np.uint8)
    for other in (noise, texture(seed + 50, *size)):
        for options in ({}, QUICK):
            found = register(texture(seed, *size), other, "rootsift", **options)
            assert not found.accepted
            assert found.matrix is None
            assert found.reasons


def test_an_image_without_a_valid_pixel_is_named(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("nodata.tif", "nan.tif"):
        for order in ((name, "a.png"), ("a.png", name)):
            assert run(*(folder / part for part in order), "--json") == 2
            assert f"{name}: holds no valid pixel" in error(capfd)
    whole = np.ma.masked_all((HEIGHT, WIDTH), dtype=np.uint8)
    for bad in (whole, np.full((HEIGHT, WIDTH), np.nan, dtype=np.float32)):
        with pytest.raises(InputError, match="image b: holds no valid pixel"):
            register(folder / "a.png", bad, "rootsift")


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("options", [{}, QUICK])
def test_pixels_that_are_no_number_are_left_out(image: np.ndarray, value: float, options: dict[str, Any]) -> None:
    bad = image.astype(np.float32)
    bad[60:130, 100:180] = value
    found = register(bad, np.roll(image, (4, 6), (0, 1)), "rootsift", **options)
    assert off(found, moved(6, 4)) < 0.5
    x, y, *_ = found.tie_points.T
    assert not ((x > 100) & (x < 179) & (y > 60) & (y < 129)).any()


@pytest.mark.parametrize(
    ("name", "words"),
    [("truncated.tif", "truncated"), ("bomb.png", "60000 x 60000 px, more than the limit")],
)
def test_files_that_are_not_what_they_claim_exit_with_2(
    folder: Path, tmp_path: Path, name: str, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    for order in ((name, "a.png"), ("a.png", name)):
        assert run(*(folder / part for part in order), "--json", "--out", tmp_path / "out") == 2
        said = error(capfd)
        assert name in said
        assert words in said
    assert not (tmp_path / "out").exists()


def test_of_many_pairs_they_fail_alone(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    names = ("truncated.tif", "bomb.png", "nodata.tif", "b.png")
    (tmp_path / "pairs.csv").write_text("".join(["a,b\n", *(f"{folder}/a.png,{folder}/{name}\n" for name in names)]))
    assert run(tmp_path / "pairs.csv", "--out", tmp_path / "out", "--json") == 1
    rows = json.loads(capfd.readouterr().out)["rows"]
    assert [row["accepted"] for row in rows] == [False, False, False, True]
    for row, words in zip(rows, ("truncated", "more than the limit", "no valid pixel"), strict=False):
        assert words in row["error"]


@pytest.mark.whole
@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
@pytest.mark.parametrize("limit", [0, 20_000])
def test_a_disk_that_fills_up_is_one_line_and_leaves_no_half_file(folder: Path, tmp_path: Path, limit: int) -> None:
    """The system's own error, by a limit on the size of a file: the result is larger, and comes first."""
    command = [sys.executable, "-c", LIMITED, str(limit), "register", str(folder / "a.png"), str(folder / "b.png")]
    command += ["--describer", "rootsift", "--no-global-search", "--no-refine", "--json", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert f"{tmp_path / 'result.json'}: {os.strerror(errno.EFBIG)}" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="the superuser may write everywhere")
def test_a_folder_without_rights_exits_with_2(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    tmp_path.chmod(0o500)
    assert run(folder / "a.png", folder / "b.png", "--json", "--out", tmp_path / "out") == 2
    assert "Permission denied" in error(capfd)


def test_the_systems_refusal_to_write_exits_with_2(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def denied(_: Path, place: Path) -> Path:
        raise PermissionError(errno.EACCES, "Permission denied", str(place))

    monkeypatch.setattr(Path, "replace", denied)
    assert run(folder / "a.png", folder / "b.png", "--json", "--out", tmp_path) == 2
    assert f"{tmp_path / 'result.json'}: Permission denied" in error(capfd)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_devices_and_pipes_are_not_replaced(tmp_path: Path) -> None:
    """The superuser could replace /dev/null."""
    os.mkfifo(tmp_path / "pipe.json")
    with pytest.raises(InputError, match=r"pipe\.json: is a device or a pipe"):
        write_text(tmp_path / "pipe.json", "text")
    assert (tmp_path / "pipe.json").is_fifo()
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.slow
def test_of_two_runs_on_one_folder_one_may_be_refused_and_the_files_are_whole(folder: Path, tmp_path: Path) -> None:
    """The second is done where the first had ended before it began."""
    command = [sys.executable, "-m", "tiepoint", "register", str(folder / "a.png")]
    options = ["--describer", "rootsift", "--no-global-search", "--no-refine", "--out", str(tmp_path), "--json"]
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    runs = [subprocess.Popen([*command, str(folder / name), *options], **pipes) for name in ("b.png", "a.png")]
    said = [process.communicate() for process in runs]
    codes = [process.returncode for process in runs]
    assert sorted(codes) in ([0, 0], [0, 2])
    assert all("another run is writing there" in said[k][1] for k, code in enumerate(codes) if code)
    results = [json.loads(said[k][0]) for k, code in enumerate(codes) if not code]
    assert json.loads((tmp_path / "result.json").read_text(encoding="utf-8")) in results
    for name in ("matches.png", "overlay.png"):
        assert cv2.imread(str(tmp_path / name)) is not None
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
