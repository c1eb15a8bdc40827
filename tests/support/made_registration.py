"""A registration with known tie points, made without a describer, and a page of HTML taken apart."""

from __future__ import annotations

import base64
import json
from html.parser import HTMLParser
from typing import Any

import cv2
import numpy as np

from tiepoint.dense.evidence import Agreement
from tiepoint.features.view import ViewInfo
from tiepoint.geometry.robust import apply, residuals
from tiepoint.options import Registration as Options
from tiepoint.registration.result import Registration
from tiepoint.registration.verdict import NOTHING

VOID = {"meta", "link", "img", "br", "input", "hr"}


def made(
    matrix: np.ndarray | None,
    size: tuple[int, int] = (480, 360),
    count: int = 60,
    outliers: int = 15,
    reasons: tuple[str, ...] = ("too few inliers",),
    name: str = "made",
) -> Registration:
    """`count` tie points over image a, off by up to 2 px; every 5th row is an outlier. Refused without a matrix."""
    rng = np.random.default_rng(0)
    total = count + outliers
    inliers = np.ones(total, dtype=bool)
    inliers[: 5 * outliers : 5] = False
    a = rng.uniform((20, 20), np.array(size) - 21, (total, 2))
    b = apply(np.eye(3) if matrix is None else matrix, a) + rng.uniform(-1.4, 1.4, (total, 2))
    b[~inliers] += 40
    accepted = matrix is not None
    points = np.hstack([a, b])
    return Registration(
        matrix=matrix,
        a=ViewInfo("image a", size, keypoints=total),
        b=ViewInfo("image b", size, keypoints=total),
        describer=name,
        matches=points,
        points=points.copy(),
        scores=np.linspace(0.9, 0.5, total).astype(np.float32),
        inliers=inliers if accepted else np.zeros(total, dtype=bool),
        residuals=np.empty(0) if matrix is None else residuals(matrix, a, b)[inliers],
        accepted=accepted,
        reasons=() if accepted else reasons,
        confidence=0.83 if accepted else 0.1,
        evidence=NOTHING,
        model="homography",
        options=Options(),
    )


def asked(columns: int = 5, rows: int = 3, spacing: float = 24.0) -> Agreement:
    """What a grid of windows says: those of the first column alone are not recognised, and the last row is alike."""
    y, x = np.divmod(np.arange(columns * rows), columns)
    points = np.column_stack([x, y]) * spacing + 100.0
    return Agreement(points, np.where(y == rows - 1, 0.9, 0.1), x > 0, spacing * 8 / 3)


class Page(HTMLParser):
    """Elements with their attributes, all balanced, their texts, the scripts, the styles and the data."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}  # by id, its children's text included
        self.raw: list[str] = []
        self.ids: list[str | None] = []
        self.feed(text)
        assert not self.open
        self.data: dict[str, Any] = json.loads(self.texts["data"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        assert len(dict(attrs)) == len(attrs)
        if tag not in VOID:
            self.open.append(tag)
            self.ids.append(dict(attrs).get("id"))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag
        self.ids.pop()

    def handle_data(self, data: str) -> None:
        for name in filter(None, self.ids):
            self.texts[name] = self.texts.get(name, "") + data
        if not {"script", "style"} & set(self.open):
            self.raw.append(data)

    @property
    def text(self) -> str:
        """What is read on the page, spaces run together."""
        return " ".join(" ".join(self.raw).split())

    def values(self, attribute: str) -> list[str]:
        return [str(attributes[attribute]) for _, attributes in self.tags if attribute in attributes]

    def with_id(self, name: str) -> dict[str, str | None]:
        found = [attributes for _, attributes in self.tags if attributes.get("id") == name]
        assert len(found) == 1, name
        return found[0]

    def picture(self, name: str) -> np.ndarray:
        """The decoded image of the element with this id."""
        attributes = self.with_id(name)
        head, data = str(attributes.get("href") or attributes["src"]).split(",")
        assert head in ("data:image/png;base64", "data:image/jpeg;base64")
        image = cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)
        assert image is not None
        return np.asarray(image)
