from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from cheap_models import Upright
from scipy.spatial.distance import cdist

from tiepoint import nets
from tiepoint.batch.settings import resolve
from tiepoint.errors import InputError
from tiepoint.export.colmap import write_database
from tiepoint.features import describe as module
from tiepoint.features.cache import FeatureCache, digest_file
from tiepoint.features.describe import describe
from tiepoint.features.detect import detect
from tiepoint.features.extract import extract
from tiepoint.features.frames import from_colmap, sigmas
from tiepoint.images.raster import Raster
from tiepoint.matching.match import match
from tiepoint.models.describer import Describer, LearnedDescriber
from tiepoint.models.load import load_describer
from tiepoint.options import Detection, override
from tiepoint.options import Registration as Options
from tiepoint.registration.register import register

Texture = Callable[..., np.ndarray]


@pytest.fixture(scope="module")
def learned() -> LearnedDescriber:
    """SDGMNet over fresh weights."""
    torch.manual_seed(0)
    return LearnedDescriber(nets.create("sdgmnet"), "fresh")


def test_rootsift_is_opencvs_own(texture: Texture) -> None:
    image = texture(0, 200, 160)
    features = describe(image, "rootsift")
    detector = cv2.SIFT.create(contrastThreshold=0.01, enable_precise_upscale=True)
    keypoints, raw = detector.detectAndCompute(image, None)
    expected = {(*k.pt, k.size, k.angle): row for k, row in zip(keypoints, raw, strict=True)}
    assert len(expected) == len(features)
    rooted = np.sqrt(np.array(list(expected.values())) / raw.sum(axis=1, keepdims=True))
    assert cdist(features.descriptors, rooted).min(axis=1).max() < 1e-6
    places = np.array([key[:2] for key in expected])
    np.testing.assert_allclose(np.sort(features.points[:, 0]), np.sort(places[:, 0]))


def test_sift_differs_from_rootsift_and_both_are_unit_vectors(texture: Texture) -> None:
    plain, rooted = describe(texture(), "sift"), describe(texture(), "rootsift")
    assert plain.describer == "sift"
    assert np.abs(plain.descriptors - rooted.descriptors).max() > 0.05
    for features in (plain, rooted):
        np.testing.assert_allclose(np.linalg.norm(features.descriptors, axis=1), 1, atol=1e-5)
        assert features.descriptors.dtype == np.float32


def test_a_learned_describer_sees_the_patches_of_the_frames(
    texture: Texture, learned: LearnedDescriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = texture(0, 200, 160)
    features = describe(image, learned, max_keypoints=60)
    patches = extract(image, features.frames, support=learned.support).astype(np.float32) / 255
    expected = learned.describe(torch.from_numpy(patches)).numpy()
    np.testing.assert_allclose(features.descriptors, expected, atol=1e-5)
    assert features.size == (200, 160)
    assert features.points.shape == (len(features), 2)
    monkeypatch.setattr(module, "CHUNK", 7)
    np.testing.assert_allclose(describe(image, learned, max_keypoints=60).descriptors, expected, atol=1e-5)


def test_support_reaches_the_patches(texture: Texture, learned: LearnedDescriber) -> None:
    image = texture(0, 200, 160)
    wide = describe(image, learned, support=20, max_keypoints=20)
    patches = extract(image, wide.frames, support=20).astype(np.float32) / 255
    np.testing.assert_allclose(wide.descriptors, learned.describe(torch.from_numpy(patches)).numpy(), atol=1e-5)
    with pytest.raises(InputError, match="rootsift always sees 12 sigmas"):
        describe(image, "rootsift", support=20)


@pytest.mark.parametrize("dtype", [np.uint16, np.float32])
def test_patches_of_deep_images_keep_their_depth(texture: Texture, dtype: type) -> None:
    class Spy(Describer):
        name, dimension = "spy", 2

        def describe(self, patches: torch.Tensor) -> torch.Tensor:
            self.levels = len(torch.unique(patches))
            self.range = patches.min().item(), patches.max().item()
            return torch.nn.functional.normalize(torch.ones(len(patches), 2), dim=1)

    spy = Spy()
    deep = (texture().astype(np.float64) * 30 + np.random.default_rng(0).uniform(0, 30, (360, 480)) + 7000).astype(
        dtype
    )
    describe(deep, spy, max_keypoints=1000)
    assert spy.levels > 2000
    assert -0.1 < spy.range[0] < 0.1
    assert 0.9 < spy.range[1] < 1.1


def test_paths_and_arrays_give_the_same(files: Path, pair: tuple[np.ndarray, np.ndarray]) -> None:
    by_path = describe(files / "a.png", "rootsift", max_keypoints=100)
    by_array = describe(pair[0][None], "rootsift", max_keypoints=100)
    np.testing.assert_array_equal(by_path.descriptors, by_array.descriptors)
    assert len(by_path) == 100


@pytest.mark.parametrize(
    ("name", "words"),
    [("constant.png", "all pixels are equal"), ("tiny.png", "20x20 pixels"), ("bare.png", "no keypoints found")],
)
def test_an_image_with_nothing_to_describe_is_named(files: Path, name: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        describe(files / name, "rootsift")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_are_refused(texture: Texture, learned: LearnedDescriber) -> None:
    with pytest.raises(InputError, match="no such describer"):
        describe(texture(), "no-such-thing")
    with pytest.raises(InputError, match="support"):
        describe(texture(), learned, support=0)
    with pytest.raises(InputError, match="max_keypoints"):
        describe(texture(), "sift", max_keypoints=0)


@pytest.mark.parametrize(("name", "factor"), [("rootsift", 2), ("sdgmnet", 3)])
def test_affine_patches_match_under_a_stretch(texture: Texture, name: str, factor: int) -> None:
    image = texture(3, 240, 200)
    wide = cv2.resize(image, None, fx=factor, fy=1, interpolation=cv2.INTER_CUBIC)
    right = []
    for affine in (False, True):
        xa, ya, xb, yb = match(image, wide, name, affine=affine, max_keypoints=200).points.T
        error = np.hypot(factor * xa + (factor - 1) / 2 - xb, ya - yb)
        right.append((error < 2).sum())
    assert right[1] > 1.5 * right[0]
    assert right[1] > 40


@pytest.mark.parametrize("name", ["sift", "rootsift", "learned"])
def test_with_affine_shape_every_describer_sees_the_patches(
    texture: Texture, learned: LearnedDescriber, name: str
) -> None:
    image = texture(0, 200, 160)
    model = learned if name == "learned" else load_describer(name)
    features = describe(image, model, affine=True, max_keypoints=60)
    np.testing.assert_array_equal(features.frames, detect(image, affine=True, max_keypoints=60).frames)
    lengths = np.linalg.svd(features.frames[:, :, :2], compute_uv=False)
    assert (lengths[:, 0] > 1.2 * lengths[:, 1]).mean() > 0.3
    patches = extract(image, features.frames, support=model.support).astype(np.float32) / 255
    np.testing.assert_allclose(features.descriptors, model.describe(torch.from_numpy(patches)).numpy(), atol=1e-5)


def test_long_patches_keep_clear_of_what_is_not_valid(texture: Texture) -> None:
    image = texture(2, 240, 200)
    mask = np.ones(image.shape, dtype=np.bool_)
    mask[70:130, 90:150] = False
    features = describe(Raster(image, mask, (0.0, 255.0)), "rootsift", affine=True)
    lengths = np.linalg.svd(features.frames[:, :, :2], compute_uv=False)
    assert (lengths[:, 0] > 1.5 * sigmas(features.frames)).any()
    inside = np.array([[u, v, 1 / 12] for u in np.linspace(-0.5, 0.5, 25) for v in np.linspace(-0.5, 0.5, 25)])
    x, y = np.rint(12 * features.frames @ inside.T).astype(int).transpose(1, 0, 2)
    seen = (x >= 0) & (x < 240) & (y >= 0) & (y < 200)
    assert mask[y[seen], x[seen]].all()


def test_upright_patches_have_no_affine_shape(pair: tuple[np.ndarray, np.ndarray]) -> None:
    calls: tuple[Callable[..., object], ...] = (match, register)
    for call in (*calls, lambda a, _, model, **options: describe(a, model, **options)):
        with pytest.raises(InputError, match="upright patches of one width: leave out affine") as caught:
            call(*pair, Upright(), affine=True)
        assert "\n" not in str(caught.value)


def test_match_register_and_batches_pass_on_how_keypoints_are_found(pair: tuple[np.ndarray, np.ndarray]) -> None:
    options = {"detector": "gradient", "affine": True, "max_keypoints": 100, "uniform": True}
    expected = [describe(image, "rootsift", **options) for image in pair]  # type: ignore[arg-type]
    matched = match(*pair, "rootsift", **options)  # type: ignore[arg-type]
    registered = register(*pair, "rootsift", refine=False, **options)  # type: ignore[arg-type]
    for features, wanted in zip((matched.a, matched.b), expected, strict=True):
        np.testing.assert_array_equal(features.frames, wanted.frames)
        np.testing.assert_array_equal(features.descriptors, wanted.descriptors)
    np.testing.assert_array_equal(registered.matches, matched.points)
    assert (
        options.items()
        <= vars(resolve("rootsift", None, override(Options(), options), "cpu").options.detection).items()
    )


def test_the_cache_and_colmaps_database_keep_the_affine_shape(files: Path, tmp_path: Path) -> None:
    path = files / "a.png"
    options = {"affine": True, "max_keypoints": 80}
    features = describe(path, "rootsift", **options)  # type: ignore[arg-type]
    for _ in range(2):  # made, and read
        cache = FeatureCache(tmp_path / "cache", load_describer("rootsift"), Detection(**options), options)
        np.testing.assert_array_equal(cache.view(path, digest_file(path)).known.frames, features.frames)
    write_database(tmp_path / "d.db", {"a.png": features}, {})
    with closing(sqlite3.connect(tmp_path / "d.db")) as database:
        rows, columns, data = database.execute("SELECT rows, cols, data FROM keypoints").fetchone()
    table = np.frombuffer(data, dtype="<f4").reshape(rows, columns)
    np.testing.assert_allclose(from_colmap(table), features.frames, atol=1e-4)
