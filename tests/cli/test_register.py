from __future__ import annotations

import errno
import json
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from register_inputs import error, texture

from tiepoint.cli import main
from tiepoint.files import locked
from tiepoint.registration.register import register
from tiepoint.report.draw import draw_overlay, draw_registration, summary

TRUTH = np.array([[0.98, -0.17, 46.0], [0.16, 1.02, -31.0], [8e-5, -5e-5, 1.0]])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """a.png, b.png (a seen through TRUTH), other.png, constant.png, text.png and truncated.jpg."""
    path = tmp_path_factory.mktemp("pair")
    a = texture(0)
    images = {"a": a, "b": cv2.warpPerspective(a, TRUTH, (320, 240)), "other": texture(1), "constant": 0 * a + 9}
    for name, image in images.items():
        assert cv2.imwrite(str(path / f"{name}.png"), image)
    (path / "text.png").write_text("no image\n")
    data = cv2.imencode(".jpg", a)[1].tobytes()
    (path / "truncated.jpg").write_bytes(data[: len(data) // 2])
    return path


def run(verb: str, folder: Path, a: str, b: str, *options: str) -> int:
    return main([verb, str(folder / a), str(folder / b), "--describer", "rootsift", *options])


def test_accepted_prints_one_json_object_and_exits_with_0(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("register", folder, "a.png", "b.png", "--json") == 0
    captured = capfd.readouterr()
    result = json.loads(captured.out)
    assert captured.err == ""
    assert result["accepted"] is True
    np.testing.assert_allclose(np.array(result["matrix"])[:2, 2], TRUTH[:2, 2], atol=1)
    assert len(result["tie_points"]) == result["inliers"]


def test_refused_exits_with_1_and_says_why(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("register", folder, "a.png", "other.png", "--json") == 1
    result = json.loads(capfd.readouterr().out)
    assert result["accepted"] is False
    assert result["matrix"] is None
    assert result["reasons"]
    assert run("register", folder, "a.png", "other.png") == 1
    printed = capfd.readouterr().out
    assert "Not registered" in printed
    assert "reasons" in printed


@pytest.mark.parametrize("verb", ["register", "match"])
@pytest.mark.parametrize("bad", ["missing.png", "text.png", "truncated.jpg", "constant.png"])
def test_a_bad_image_exits_with_2_and_one_line(
    folder: Path, verb: str, bad: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(verb, folder, "a.png", bad, "--json") == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert bad in captured.err
    assert "Traceback" not in captured.err


def test_detector_and_affine_shape_are_taken(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ("--no-refine", "--max-keypoints", "150", "--json")
    results = {}
    for chosen in (("--detector", "gradient", "--affine"), ("--detector", "gradient"), ("--affine",)):
        run("register", folder, "a.png", "b.png", *options, *chosen)
        results[chosen] = json.loads(capfd.readouterr().out)
    images = folder / "a.png", folder / "b.png"
    for chosen, result in results.items():
        found = register(
            *images, "rootsift", detector="gradient" if "gradient" in chosen else "sift",
            affine="--affine" in chosen, max_keypoints=150, refine=False,
        )  # fmt: skip
        assert result["tie_points"] == found.to_json()["tie_points"]
    assert len({str(result["tie_points"]) for result in results.values()}) == 3


@pytest.mark.parametrize(
    "options", [("--model", "spline"), ("--ratio", "7"), ("--max-residual", "-1"), ("--nonsense",)]
)
def test_a_wrong_option_exits_with_2_and_one_line(
    folder: Path, options: tuple[str, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    assert run("register", folder, "a.png", "b.png", *options) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1


@pytest.mark.slow
def test_out_holds_the_result_and_the_pictures(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "out"
    assert run("register", folder, "a.png", "b.png", "--out", str(out), "--json") == 0
    printed = json.loads(capfd.readouterr().out)
    assert sorted(p.name for p in out.iterdir()) == ["matches.png", "overlay.png", "result.json", "tie_points.csv"]
    assert json.loads((out / "result.json").read_text(encoding="utf-8")) == printed
    a, b = folder / "a.png", folder / "b.png"
    found = register(a, b, "rootsift")
    assert found.transform is not None
    for name, drawn in {
        "matches.png": draw_registration(a, b, found),
        "overlay.png": draw_overlay(a, b, found.transform, title=summary(found)),
    }.items():  # fmt: skip
        np.testing.assert_array_equal(cv2.imread(str(out / name))[..., ::-1], drawn)
    assert run("register", folder, "a.png", "other.png", "--out", str(out)) == 1
    assert sorted(p.name for p in out.iterdir()) == ["matches.png", "result.json"]  # no overlay of the run before


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["register", "match"])
def test_one_run_at_a_time_writes_to_a_folder(
    folder: Path, tmp_path: Path, verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    words = ("--max-keypoints", "100", "--out", str(tmp_path), "--json")
    code = "import sys\nfrom tiepoint.files import locked\nwith locked(sys.argv[1]):\n"
    code += "    print(1, flush=True)\n    sys.stdin.read()\n"
    both = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], **both) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"1\n"
        assert run(verb, folder, "a.png", "b.png", *words) == 2
        held = f"another run is writing there (process {holder.pid} on {socket.gethostname()} since "
        said = error(capfd)
        assert said.startswith(f"tiepoint: error: {tmp_path}: {held}")
        assert said.endswith(" UTC): wait for it, or name another folder\n")
        assert {path.name for path in tmp_path.iterdir()} == {".lock", ".lock-holder"}
        assert run(verb, folder, "a.png", "b.png", *words[:2], "--json") == 0  # which writes to none
        holder.kill()
    assert run(verb, folder, "a.png", "constant.png", *words) == 2  # an error frees it, and a killed run holds none
    assert "constant.png" in capfd.readouterr().err
    for _ in range(2):
        assert run(verb, folder, "a.png", "b.png", *words) == 0


def test_the_demo_holds_its_folder_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tiepoint.cli import demo
    from tiepoint.registration import register as module

    def second(*arguments: object) -> None:  # in place of the work
        with locked(tmp_path):
            pass

    pair = texture(0)
    monkeypatch.setattr(demo, "_pair", lambda: (pair, pair, np.zeros(pair.shape, np.float32)))
    monkeypatch.setattr(module, "register", second)
    words = ["demo", "--describers", "rootsift", "--out", str(tmp_path), "--json"]
    assert main(words) == 2
    assert "another run is writing there" in error(capfd)
    assert list(tmp_path.iterdir()) == []  # an error frees it
    monkeypatch.setattr(module, "register", register)
    with locked(tmp_path):
        assert main(words) == 2
        assert "another run is writing there" in error(capfd)
        assert {path.name for path in tmp_path.iterdir()} == {".lock", ".lock-holder"}
    assert main(words) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["matches.png", "overlay.png", "result.json"]


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["register", "match"])
def test_an_interruption_frees_the_folder(
    folder: Path, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tiepoint import files

    def interrupted(*arguments: object) -> None:
        raise KeyboardInterrupt

    words = ("--max-keypoints", "100", "--out", str(tmp_path), "--json")
    with monkeypatch.context() as patch:
        patch.setattr(files, "write_json", interrupted)
        assert run(verb, folder, "a.png", "b.png", *words) == 130
    assert error(capfd) == "tiepoint: interrupted\n"
    assert run(verb, folder, "a.png", "b.png", *words) == 0


@pytest.mark.parametrize("verb", ["register", "match"])
def test_out_that_is_a_file_is_refused_before_the_work(
    folder: Path, verb: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(verb, folder, "a.png", "constant.png", "--out", str(folder / "text.png")) == 2
    assert f"{folder / 'text.png'}: is a file, or lies below one" in error(capfd)


def test_nothing_is_written_without_out(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run("register", folder, "a.png", "b.png") == 0
    assert "Registered" in capfd.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["register", "match"])
def test_a_full_disk_is_one_line_and_leaves_no_half_file(
    folder: Path, tmp_path: Path, verb: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(self: Path, *arguments: object, **options: object) -> int:
        with self.open("wb") as file:
            file.write(b"half")
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    monkeypatch.setattr(Path, "write_text", full)
    assert run(verb, folder, "a.png", "b.png", "--out", str(tmp_path / "out"), "--json") == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert "No space left on device" in captured.err
    assert not (tmp_path / "out").exists()


def test_match_lists_the_matches(folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert run("match", folder, "a.png", "b.png", "--json", "--out", str(tmp_path / "out")) == 0
    result = json.loads(capfd.readouterr().out)
    points = np.array(result["points"])
    assert points.shape == (result["matches"], 5)
    mapped = cv2.perspectiveTransform(points[None, :, :2], TRUTH)[0]
    assert (np.linalg.norm(mapped - points[:, 2:4], axis=1) < 3).mean() > 0.8
    assert (points[:, 4] <= 1.0001).all()
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["matches.png", "result.json"]
    assert run("match", folder, "a.png", "b.png") == 0
    assert "matches" in capfd.readouterr().out
