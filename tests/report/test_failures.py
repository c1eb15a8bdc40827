from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from cross_set import Correlation, cross_set
from synthetic import pixel_describer

from tiepoint.errors import InputError
from tiepoint.evaluation.cross_spectral import CrossScore, evaluate_cross_spectral
from tiepoint.patches import PatchSet
from tiepoint.report.failures import failures_page, worst_pairs


class Tags(HTMLParser):
    """Tags with their attributes, all balanced, and the text of each figure."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.captions: list[str] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        if tag == "figcaption":
            self.captions.append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "figcaption":
            self.captions[-1] += data + "\n"


def measured(data: PatchSet) -> dict[str, CrossScore]:
    return evaluate_cross_spectral(data, {"relater <b>": Correlation(), "pixels": pixel_describer})


def pictures(page: str) -> list[np.ndarray]:
    urls = [attributes["src"] for tag, attributes in Tags(page).tags if tag == "img"]
    prefix = "data:image/png;base64,"
    assert all(url and url.startswith(prefix) for url in urls)
    raw = [np.frombuffer(base64.b64decode(str(url)[len(prefix) :]), np.uint8) for url in urls]
    return [cv2.imdecode(data, cv2.IMREAD_UNCHANGED) for data in raw]


def test_the_worst_pairs_are_those_of_the_wrong_end(tmp_path: Path) -> None:
    score = measured(cross_set(tmp_path / "set", noise=60.0))["pixels"]
    wrong, missed = worst_pairs(score, 5)
    assert not score.pairs.labels[wrong].any()
    assert score.pairs.labels[missed].all()
    others, matches = score.scores[~score.pairs.labels], score.scores[score.pairs.labels]
    np.testing.assert_array_equal(score.scores[wrong], np.sort(others)[::-1][:5])
    np.testing.assert_array_equal(score.scores[missed], np.sort(matches)[:5])
    assert len(worst_pairs(score, 1000)[1]) == score.pairs.labels.sum()


def test_the_page_shows_the_patches_and_stands_alone(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", noise=60.0)
    scores = measured(data)
    page = failures_page(data, scores, count=3)
    shown = pictures(page)
    assert len(shown) == 2 * 2 * 3 * 2  # models, lists, pairs, patches
    rows = []
    for score in scores.values():
        chosen = np.concatenate(worst_pairs(score, 3))
        rows += np.stack([score.pairs.first[chosen], score.pairs.second[chosen]], axis=1).ravel().tolist()
    np.testing.assert_array_equal(shown, data.patches[rows][:, 0])
    assert not re.search(r"https?:|<script|<link|@import|url\(", page)
    assert [str(attributes["alt"]) for tag, attributes in Tags(page).tags if tag == "img"][:2] == ["vis", "nir"]


def test_captions_say_what_a_pair_is(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set", noise=60.0)
    scores = measured(data)
    score = scores["relater <b>"]
    captions = Tags(failures_page(data, scores, count=2)).captions
    index = int(worst_pairs(score, 1)[0][0])
    first, second = int(score.pairs.first[index]), int(score.pairs.second[index])
    assert score.probabilities is not None
    assert f"probability {score.probabilities[index]:.4f}, logit {score.scores[index]:.3f}" in captions[0]
    assert f"category {score.pairs.names[score.pairs.categories[index]]}\n" in captions[0]
    assert data.image_names[data.images[first]] in captions[0]
    assert data.image_names[data.images[second]] in captions[0]
    assert f"rows {first}, {second}\n" in captions[0]
    assert data.positions is not None
    assert f"({data.positions[first][0]:g}, 50)" in captions[0]
    assert captions[4].startswith(f"score {scores['pixels'].scores[worst_pairs(scores['pixels'], 1)[0][0]]:.3f}\n")


def test_text_is_escaped(tmp_path: Path) -> None:
    scenes = ("<i>field</i>/<script>&", "<i>field</i>/'\"")
    data = cross_set(tmp_path / "<set>", scenes, spectra=("<vis>", "&nir"))
    models = {"relater <b>": Correlation(("<vis>", "&nir")), "pixels": pixel_describer}
    page = failures_page(data, evaluate_cross_spectral(data, models), count=2)
    assert not {tag for tag, _ in Tags(page).tags} & {"b", "i", "script", "set", "vis"}
    assert "relater &lt;b&gt;" in page
    assert "Worst pairs of &lt;set&gt;" in page


def test_colour_stays_and_sixteen_bits_are_stretched(tmp_path: Path) -> None:
    colour = cross_set(tmp_path / "colour", channels=3, noise=20.0)
    scores = evaluate_cross_spectral(colour, {"r": Correlation()})
    chosen = worst_pairs(scores["r"], 1)[0]
    shown = pictures(failures_page(colour, scores, count=1))[0]
    expected = colour.patches[scores["r"].pairs.first[chosen]][0].transpose(1, 2, 0)
    np.testing.assert_array_equal(cv2.cvtColor(shown, cv2.COLOR_BGR2RGB), expected)

    deep = cross_set(tmp_path / "deep", dtype=np.uint16, noise=20.0)
    patches = np.load(deep.directory / "patches.npy")
    np.save(deep.directory / "patches.npy", patches // 100)  # as a thermal camera fills its range
    dark = PatchSet.open(deep.directory)
    shown = pictures(failures_page(dark, evaluate_cross_spectral(dark, {"r": Correlation()}), count=4))[0]
    assert shown.dtype == np.uint8
    assert np.ptp(shown) > 150


def test_a_list_needs_a_pair(tmp_path: Path) -> None:
    data = cross_set(tmp_path / "set")
    with pytest.raises(InputError, match="count is 0"):
        failures_page(data, measured(data), count=0)
