from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from synthetic import smooth_texture

from tiepoint.data import noise
from tiepoint.data.builders.homography import build_homography, cut_sequence, inside, warp_frames
from tiepoint.data.readers.hpatches import STRIPS, HPatches
from tiepoint.errors import InputError
from tiepoint.features.frames import compose

WIDTH, HEIGHT, OFFSET = 260, 220, 120.0
REAL = Path(__file__).resolve().parents[4] / "shared" / "data" / "homography"


def homography(number: int) -> NDArray[np.float64]:
    """Image 1 to image `number`: turned, reduced, slanted and shifted, the more the higher the number."""
    angle, scale = 0.06 * number, 1 - 0.02 * number
    matrix = np.array(
        [
            [scale * np.cos(angle), -np.sin(angle), 5.0 * number],
            [np.sin(angle), scale * np.cos(angle), -4.0 * number],
            [1e-4 * number, -5e-5 * number, 1.0],
        ]
    )
    return matrix * (-2.0 if number == 3 else 1.0)  # a homography's factor, even a negative one, means nothing


def write_sequence(folder: Path, seed: int) -> None:
    folder.mkdir(parents=True)
    texture = smooth_texture(520, seed)
    shift = np.array([[1, 0, -OFFSET], [0, 1, -OFFSET], [0, 0, 1]])
    for number in range(1, 7):
        matrix = np.eye(3) if number == 1 else homography(number)
        image = cv2.warpPerspective(texture, matrix @ shift, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT)
        cv2.imwrite(str(folder / f"{number}.png"), image)
        if number > 1:
            np.savetxt(folder / f"H_1_{number}", matrix)


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sequences")
    write_sequence(root / "wall", seed=1)
    write_sequence(root / "lamp", seed=2)
    return root


@pytest.fixture
def root(written: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(written, tmp_path / "in"))


def correlation(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Of each patch of `a` (N, 65, 65) with the same patch of `b`."""
    flat = [patches.reshape(len(patches), -1).astype(np.float64) for patches in (a, b)]
    flat = [x - x.mean(axis=1, keepdims=True) for x in flat]
    one, other = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in flat)
    return np.einsum("nd,nd->n", one, other)


def test_without_noise_every_strip_shows_the_reference(
    written: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for level in ("easy", "hard", "tough"):
        monkeypatch.setitem(noise.LEVELS, level, noise.LEVELS["none"])
    strips = build_homography(written, {"wall": "v"}, tmp_path / "out", count=60)
    assert strips.counts["v_wall"] >= 30
    reference = strips.strip("v_wall", "ref")
    for name in STRIPS[1:]:
        assert correlation(reference, strips.strip("v_wall", name)).min() > 0.95


def test_strips_are_noisier_from_easy_to_tough(written: Path, tmp_path: Path) -> None:
    strips = build_homography(written, {"wall": "v", "lamp": "i"}, tmp_path / "out", count=60, min_distance=4)
    assert strips.sequences == ["i_lamp", "v_wall"]
    for sequence in strips.sequences:
        reference = strips.strip(sequence, "ref")
        mean = {
            level: np.mean([correlation(reference, strips.strip(sequence, f"{level}{k}")).mean() for k in range(1, 6)])
            for level in "eht"
        }
        assert 0.99 > mean["e"] > mean["h"] + 0.05
        assert mean["h"] > mean["t"] + 0.05
        others = np.roll(reference, 1, axis=0)
        assert mean["t"] > correlation(reference, others).mean() + 0.2
        assert (strips.strip(sequence, "e1") != strips.strip(sequence, "e2")).any()


def contents(directory: Path) -> dict[str, bytes]:
    return {str(file.relative_to(directory)): file.read_bytes() for file in directory.rglob("*.png")}


def test_patches_depend_on_the_seed_and_on_their_own_sequence_alone(written: Path, tmp_path: Path) -> None:
    build_homography(written, {"wall": "v", "lamp": "i"}, tmp_path / "both", count=20, seed=5)
    build_homography(written, {"lamp": "i"}, tmp_path / "one", count=20, seed=5)
    build_homography(written, {"lamp": "i"}, tmp_path / "other", count=20, seed=6)
    both, one, other = (contents(tmp_path / name) for name in ("both", "one", "other"))
    assert len(both) == 32
    assert one == {name: data for name, data in both.items() if name.startswith("i_lamp")}
    assert one["i_lamp/e1.png"] != other["i_lamp/e1.png"]


def test_options_bound_the_patches(written: Path) -> None:
    options = {"count": 1000, "contrast": 0.02, "min_distance": 3.0, "support": 10.0, "seed": 0}

    def count(**changed: float) -> int:
        strips = cut_sequence(written / "wall", **(options | changed))  # type: ignore[arg-type]
        assert {len(patches) for patches in strips.values()} == {len(strips["ref"])}
        return len(strips["ref"])

    near = count()
    assert count(count=7) == 7
    assert near > count(min_distance=30) > 7
    assert near > count(contrast=0.08)
    assert near > count(support=20)


def test_the_folder_says_how_it_was_cut(written: Path, tmp_path: Path) -> None:
    build_homography(written, {"wall": "v"}, tmp_path / "out", count=5, seed=3)
    said = json.loads((tmp_path / "out" / "build.json").read_text())
    assert said["sequences"] == {"wall": "v"}
    assert said["noise"]["t"] == {"rotation": 22, "shift": 0.10, "scale": 0.3, "stretch": 0.2}
    assert [said[key] for key in ("count", "contrast", "min_distance", "support", "seed")] == [5, 0.02, 8, 10, 3]


def map_points(points: NDArray[np.float64], matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    mapped = np.column_stack([points, np.ones(len(points))]) @ matrix.T
    return mapped[:, :2] / mapped[:, 2:]


@settings(deadline=None)
@given(
    x=st.floats(0, WIDTH), y=st.floats(0, HEIGHT), sigma=st.floats(0.5, 20), angle=st.floats(-3, 3), k=st.integers(2, 6)
)
def test_frames_are_mapped_by_the_derivative(x: float, y: float, sigma: float, angle: float, k: int) -> None:
    frames = compose([[x, y]], [sigma], [angle])
    matrix = homography(k) / homography(k)[2, 2]
    warped = warp_frames(frames, matrix)[0]
    step = 1e-4
    for column in range(2):
        ends = np.array([[x, y] + sign * step * frames[0, :, column] for sign in (-1, 1)])
        low, high = map_points(ends, matrix)
        np.testing.assert_allclose(warped[:, column], (high - low) / (2 * step), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(warped[:, 2], map_points(np.array([[x, y]]), matrix)[0])


def test_frames_beyond_the_horizon_are_inside_no_image() -> None:
    matrix = np.array([[1, 0, 0], [0, 1, 0], [-0.02, 0, 1]])
    frames = warp_frames(compose([[20, 30], [60, 30]], [1, 1], [0, 0]), matrix)
    np.testing.assert_array_equal(inside(frames, 4.0, (1000, 1000)), [True, False])


def test_a_patch_is_inside_up_to_the_outer_edge_of_the_last_pixel() -> None:
    frames = compose([[4.5, 10], [4.4, 10], [94.5, 10], [94.6, 10], [50, 44.5], [50, 44.6]], [1] * 6, [0] * 6)
    np.testing.assert_array_equal(inside(frames, 10.0, (50, 100)), [True, False] * 3)
    turned = compose([[8, 20]], [1], [np.pi / 4])  # its corner is 7.07 px from the centre
    assert inside(turned, 10.0, (50, 100)).all()
    assert not inside(turned, 13.0, (50, 100)).any()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda s: shutil.rmtree(s), r"wall: no such folder"),
        (lambda s: (s / "4.png").unlink(), r"wall/4\.\*: 0 files, must be one image"),
        (lambda s: shutil.copy(s / "4.png", s / "4.ppm"), r"wall/4\.\*: 2 files"),
        (lambda s: (s / "4.png").write_bytes((s / "4.png").read_bytes()[:999]), r"wall/4\.png: is truncated"),
        (lambda s: cv2.imwrite(str(s / "4.png"), np.zeros((9, 9), np.uint16)), r"wall/4\.png: grey values are uint16"),
        (lambda s: cv2.imwrite(str(s / "1.png"), np.zeros((99, 99), np.uint8)), r"wall: no keypoint has its patches"),
        (lambda s: cv2.imwrite(str(s / "6.png"), np.zeros((9, 9), np.uint8)), r"wall: no keypoint has its patches"),
        (lambda s: (s / "H_1_3").unlink(), r"wall/H_1_3: cannot be read"),
        (lambda s: (s / "H_1_3").write_text("1 0 0 0 1 0 0 0"), r"wall/H_1_3: holds 8 numbers"),
        (lambda s: (s / "H_1_3").write_text("1 0 0 0 1 0 0 nan 1"), r"wall/H_1_3: holds 9 numbers or not finite"),
        (lambda s: (s / "H_1_3").write_text("1 0 0 0 one 0 0 0 1"), r"wall/H_1_3: could not convert .*'one'"),
        (lambda s: (s / "H_1_3").write_bytes(b"\xff\xfe"), r"wall/H_1_3: .* 3x3 matrix"),
        (lambda s: (s / "H_1_3").write_text("1 0 0 2 0 0 0 0 1"), r"wall/H_1_3: the matrix cannot be inverted"),
    ],
)
def test_a_damaged_sequence_is_named(
    root: Path, tmp_path: Path, damage: Callable[[Path], object], message: str
) -> None:
    damage(root / "wall")
    with pytest.raises(InputError, match=message):
        build_homography(root, {"lamp": "i", "wall": "v"}, tmp_path / "out", count=3)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize(
    ("kinds", "options", "message"),
    [
        ({}, {}, "name at least one sequence"),
        ({"wall": "x"}, {}, "sequence wall: kind is 'x'"),
        ({"../wall": "v"}, {}, r"sequence \.\./wall: must be the name of a folder"),
        ({"wall": "v"}, {"count": 0}, "count is 0"),
        ({"wall": "v"}, {"count": 20_000}, "count is 20000"),
        ({"wall": "v"}, {"contrast": float("nan")}, "contrast is nan"),
        ({"wall": "v"}, {"min_distance": -1.0}, "min_distance is -1"),
        ({"wall": "v"}, {"support": 0.0}, "support is 0"),
        ({"wall": "v"}, {"seed": -1}, "seed is -1"),
    ],
)
def test_wrong_arguments_are_named(
    written: Path, tmp_path: Path, kinds: dict[str, str], options: dict[str, float], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_homography(written, kinds, tmp_path / "out", **options)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.data
@pytest.mark.skipif(not REAL.is_dir(), reason="needs the real images of ../shared/data beside the repository")
def test_real_sequences_give_a_full_set_of_matching_patches(tmp_path: Path) -> None:
    strips = build_homography(REAL, {"graf": "v", "leuven": "i"}, tmp_path / "out")
    assert strips.counts == {"i_leuven": 1000, "v_graf": 1000}
    assert HPatches.open(tmp_path / "out").counts == strips.counts
    for sequence in strips.sequences:
        reference = strips.strip(sequence, "ref")
        median = {s: float(np.median(correlation(reference, strips.strip(sequence, s)))) for s in STRIPS}
        assert all(median[f"e{k}"] > 0.75 > median[f"h{k}"] > 0.6 > median[f"t{k}"] > 0.4 for k in range(1, 6))
