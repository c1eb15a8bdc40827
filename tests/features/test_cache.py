"""Features from the cache are those that were described, and give the same registration."""

from __future__ import annotations

import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tiepoint
from tiepoint.errors import InputError
from tiepoint.features import view as views
from tiepoint.features.cache import FeatureCache, digest_file
from tiepoint.features.describe import Features, describe
from tiepoint.options import Detection
from tiepoint.registration.register import register

SETTINGS = {"max_keypoints": 300}


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that are described."""
    found: list[str] = []

    def counted(image: Any, *arguments: Any, **options: Any) -> Features:
        found.append(Path(image.name).name)
        return describe(image, *arguments, **options)

    monkeypatch.setattr(views, "describe", counted)
    return found


def cache(folder: Path | None, key: Any = 1) -> FeatureCache:
    return FeatureCache(folder, tiepoint.load_describer("rootsift"), Detection(**SETTINGS), key)


def get(kept: FeatureCache, path: Path) -> Features:
    return kept.view(path, digest_file(path)).known


def test_an_image_is_described_once_for_each_content_and_key(files: Path, tmp_path: Path, calls: list[str]) -> None:
    kept = cache(tmp_path / "cache")
    shutil.copy(files / "a.png", tmp_path / "copy.png")
    for path in (files / "a.png", files / "a.png", tmp_path / "copy.png", files / "b.png"):
        get(kept, path)
    assert calls == ["a.png", "b.png"]
    get(cache(tmp_path / "cache"), files / "a.png")
    assert len(calls) == 2
    get(cache(tmp_path / "cache", key=2), files / "a.png")
    assert len(calls) == 3
    assert len(list((tmp_path / "cache").iterdir())) == 3
    kept.view(files / "a.png", digest_file(files / "a.png"), nodata=0)
    assert len(calls) == 4


@pytest.mark.slow
def test_cached_features_equal_and_register_alike(files: Path, tmp_path: Path, calls: list[str]) -> None:
    paths = files / "a.png", files / "b.png"
    fresh = [describe(path, "rootsift", **SETTINGS) for path in paths]  # type: ignore[arg-type]
    for path in paths:
        get(cache(tmp_path), path)
    cached = [get(cache(tmp_path), path) for path in paths]
    assert calls == ["a.png", "b.png"]
    for old, new in zip(fresh, cached, strict=True):
        assert vars(old).keys() == vars(new).keys()
        for name, value in vars(old).items():
            np.testing.assert_array_equal(vars(new)[name], value, err_msg=name)
            assert np.asarray(vars(new)[name]).dtype == np.asarray(value).dtype
    direct = register(*paths, "rootsift", max_keypoints=300)
    assert direct.accepted
    assert register(*(cache(tmp_path).view(path, digest_file(path)) for path in paths)).to_json() == direct.to_json()


def test_a_damaged_file_is_made_again(files: Path, tmp_path: Path, calls: list[str]) -> None:
    get(cache(tmp_path), files / "a.png")
    file = next(tmp_path.iterdir())
    whole = file.read_bytes()
    for damaged in (b"", whole[: len(whole) // 2], b"PK\x03\x04 no archive", whole[:200] + bytes(99) + whole[299:]):
        file.write_bytes(damaged)
        assert len(get(cache(tmp_path), files / "a.png")) == 300
        assert file.read_bytes() == whole
    assert len(calls) == 5


def test_without_a_folder_nothing_is_kept(files: Path, tmp_path: Path, calls: list[str]) -> None:
    kept = cache(None)
    get(kept, files / "a.png")
    get(kept, files / "a.png")
    assert len(calls) == 2


def test_threads_that_want_one_image_wait_for_it(files: Path, tmp_path: Path, calls: list[str]) -> None:
    kept, start = cache(tmp_path), threading.Barrier(3)

    def wanted(_: int) -> Features:
        start.wait()
        return get(kept, files / "a.png")

    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(wanted, range(3)))
    assert calls == ["a.png"]
    np.testing.assert_array_equal(found[0].descriptors, found[2].descriptors)


def test_unreadable_files_have_no_digest(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        digest_file(tmp_path / "missing.png")
    with pytest.raises(InputError, match="is a folder"):
        digest_file(tmp_path)
