"""Pictures of matches and of registered images, for eyes alone: 16-bit and float images are stretched to 8 bits."""

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from tiepoint.dense.evidence import Agreement
from tiepoint.errors import InputError
from tiepoint.images.raster import Raster, as_raster
from tiepoint.options import TWO_VIEW_MODELS
from tiepoint.registration.overlay import Mapping, overlay
from tiepoint.registration.result import Registration
from tiepoint.registration.show import AGREES, DISAGREES
from tiepoint.report.canvas import PAPER, Entry, captioned
from tiepoint.types import Image, Mask, Picture, Points, Rows

PALE, MIN_STRENGTH = (245, 245, 245), 0.2  # what a colour fades to, and how much of it is left of the lowest value
OPACITY = 0.6
DIMMED = 0.75  # brightness left to the images, so that lines stand out on snow and sky
VEIL, VEIL_OPACITY = 80, 0.5  # grey laid over an image under tiles, so that they are as strong on black as on white
GAP_PX, TILE_GAP_PX = 6, 2
MIN_WIDTH_PX, MAX_WIDTH_PX, MAX_HEIGHT_PX = 900, 2400, 1800
MIN_OVERLAY_PX, MAX_OVERLAY_PX = 400, 1800
SUBPIXEL_BITS = 4
MAX_LINES = 200
PLANE_KINDS = ("tie points, which agree with the transform", "other matches: wrong, or right but off the plane")
EPIPOLAR_KINDS = ("tie points, which agree with the epipolar geometry", "other matches, which do not")
WINDOW_KINDS = ("windows of A recognise their place in B", "take another place of B for theirs")
OVERLAY_LEGEND = [
    Entry("brighter in image A", [(200, 40, 40)]),
    Entry("brighter in image B", [(40, 200, 200)]),
    Entry("alike in both", [(40, 40, 40), (230, 230, 230)]),
]


def draw_matches(
    a: Image | Raster,
    b: Image | Raster,
    points: Points,
    agrees: Mask | None = None,
    values: ArrayLike | None = None,
    *,
    value_name: str = "match probability",
    kinds: tuple[str, str] = PLANE_KINDS,
    title: str | None = None,
) -> Picture:
    """The images side by side in one height, a half-transparent line for each of 200 matches at most, title, legend.

    Args:
        a: what was matched: a path, an array (H, W) or (C, H, W), or a `Raster`; read as `match` and `register` do.
        b: the same of the other image, of any size.
        points: (M, 4): xa, ya, xb, yb in pixels.
        agrees: (M,) bool: matches that agree with the transform are blue, the others orange; all are blue if None.
        values: (M,) that shade the lines, the lowest pale and the highest in full colour; NaN leaves a line unshaded.
        value_name: what the values are, for the legend.
        kinds: legend of the matches that agree, and of the others.
        title: text above the images; the number of matches if None.

    Returns:
        RGB picture. The images are enlarged or reduced to a picture 900 to 2,400 px wide, and at most 1,800 px high.

    Raises:
        InputError: an unusable image, or not one verdict and one value for each match.
    """
    count = len(points)
    good = np.ones(count, dtype=bool) if agrees is None else np.asarray(agrees, dtype=bool)
    known = np.full(count, np.nan) if values is None else np.asarray(values, dtype=np.float64)
    if not good.shape == known.shape == (count,):
        raise InputError(f"{count} matches have {good.size} verdicts and {known.size} values: give one for each match")
    canvas, placed = _side_by_side(as_raster(a, "image a").to_uint8(), as_raster(b, "image b").to_uint8(), points)
    colours = _colours(good, known)
    # Evenly from each kind in its proportion, in an order that hides no kind behind another.
    rows = np.random.default_rng(0).permutation(np.argsort(good, kind="stable")[even_sample(count, MAX_LINES)])
    radius = max(2, round(canvas.shape[1] / 700)) << SUBPIXEL_BITS
    lines = canvas.copy()
    for row in rows.tolist():
        xa, ya, xb, yb = placed[row].tolist()
        cv2.line(lines, (xa, ya), (xb, yb), colours[row].tolist(), 1, cv2.LINE_AA, SUBPIXEL_BITS)
    canvas = np.asarray(cv2.addWeighted(lines, OPACITY, canvas, 1 - OPACITY, 0), dtype=np.uint8)
    for row in rows.tolist():
        for x, y in placed[row].reshape(2, 2).tolist():
            cv2.circle(canvas, (x, y), radius, colours[row].tolist(), -1, cv2.LINE_AA, SUBPIXEL_BITS)
    legend = _legend(good, known, None if agrees is None else kinds, value_name)
    if len(rows) < count:
        how = "" if agrees is None else ", each kind in its proportion"
        legend.append(Entry(f"{len(rows):,} of {count:,} are drawn{how}"))
    return captioned(canvas, f"{count:,} matches" if title is None else title, legend)


def draw_registration(a: Image | Raster, b: Image | Raster, registration: Registration) -> Picture:
    """The correspondences of a registration by `draw_matches`, with its verdict and, by a relater, its probabilities.

    Images a and b are those that were registered, or reduced as `tiepoint.registration.large.pictured` returns them;
    the registration is in their pixels.
    """
    values = None
    if registration.probabilities is not None and len(registration.probabilities):
        values = np.full(len(registration.points), np.nan)
        values[registration.inliers] = registration.probabilities
    agrees = registration.inliers if registration.accepted else None
    kinds = EPIPOLAR_KINDS if registration.model in TWO_VIEW_MODELS else PLANE_KINDS
    return draw_matches(a, b, registration.points, agrees, values, kinds=kinds, title=summary(registration))


def draw_overlay(a: Image | Raster, b: Image | Raster, mapping: Mapping, *, title: str = "") -> Picture:
    """Image a over image b by `tiepoint.registration.overlay.overlay`, with a title and a legend.

    Large images are reduced to 1,800 px, and tiny ones enlarged for the legend; images and errors as `draw_matches`.
    """
    levels = as_raster(a, "image a").to_uint8(), as_raster(b, "image b").to_uint8()
    picture = overlay(*levels, mapping, longest=MAX_OVERLAY_PX)
    height, width = picture.shape[:2]
    scale = max(1, -(-MIN_OVERLAY_PX // width))
    return captioned(_resized(picture, width * scale, height * scale), title, OVERLAY_LEGEND)


def draw_agreement(b: Image | Raster, registration: Registration) -> Picture:
    """Image b, veiled, with a tile for each window of `Registration.agreement`, the verdict as title, and a legend.

    Windows that are recognised are blue, the others orange, and the more alike, the fuller. Image b has any form that
    `register` reads, and the registration is in its pixels. The picture is 900 px wide, or up to 1,800 px a side.

    Raises InputError for an unusable image, or a registration whose windows were not asked.
    """
    agreement = registration.agreement
    if agreement is None:
        raise InputError("no windows were asked about this registration: there is no agreement to draw")
    levels = as_raster(b, "image b").to_uint8()
    height, width = levels.shape
    scale = min(max(1.0, MIN_WIDTH_PX / width), MAX_OVERLAY_PX / max(width, height))
    shown = _resized(levels, round(width * scale), round(height * scale))
    picture = np.repeat((1 - VEIL_OPACITY) * shown[:, :, None] + VEIL_OPACITY * VEIL, 3, axis=2)
    zoom, half = np.array(shown.shape[::-1]) / (width, height), agreement.spacing / 2
    edges = np.hstack([(agreement.points + side + 0.5) * zoom for side in (-half, half)])
    tiles = np.rint(edges).clip(min=0).astype(np.int64).tolist()
    colours = np.where(agreement.recognised[:, None], AGREES, DISAGREES)
    strengths = opacities(agreement.similarity)
    for (left, top, right, bottom), colour, opacity in zip(tiles, colours, strengths, strict=True):
        tile = picture[top : bottom - TILE_GAP_PX, left : right - TILE_GAP_PX]
        tile += opacity * (colour - tile)
    ends = np.array([agreement.similarity.min(), agreement.similarity.max()])
    ramp = VEIL + opacities(ends)[:, None] * (np.array(AGREES) - VEIL)
    legend = [Entry(text, [colour]) for text, colour in zip(window_kinds(agreement), (AGREES, DISAGREES), strict=True)]
    legend.append(Entry(f"similarity {ends[0]:.2f} to {ends[1]:.2f}, the fuller the higher", ramp.tolist()))
    return captioned(np.rint(picture).astype(np.uint8), summary(registration), legend)


def window_kinds(agreement: Agreement) -> tuple[str, str]:
    """How many windows are recognised and how many are not, in words."""
    count, recognised = len(agreement.recognised), int(agreement.recognised.sum())
    return f"{recognised:,} {WINDOW_KINDS[0]}", f"{count - recognised:,} {WINDOW_KINDS[1]}"


def opacities(similarity: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the tiles (N,) of windows so alike, in 0..1: on a scale that is the same in every picture, and never 0."""
    return OPACITY * (MIN_STRENGTH + (1 - MIN_STRENGTH) * similarity.clip(0, 1))


def summary(registration: Registration) -> str:
    """The verdict and the numbers of a registration in one sentence."""
    total = len(registration.points)
    if not registration.accepted:
        return f"Not registered: {'; '.join(registration.reasons)} ({total:,} correspondences)"
    return (
        f"Registered by {registration.model}: {int(registration.inliers.sum()):,} tie points of {total:,} "
        f"correspondences, rms {registration.rms:.2f} px, confidence {registration.confidence:.2f}"
    )


def _side_by_side(a: NDArray[np.uint8], b: NDArray[np.uint8], points: Points) -> tuple[Picture, Rows]:
    """The images in one height on paper, and the points (M, 4) on that picture in fractions of a pixel for OpenCV."""
    height, shares = max(len(a), len(b)), [image.shape[1] / image.shape[0] for image in (a, b)]
    wide = height * sum(shares)
    height = max(1, round(height * min(max(wide, MIN_WIDTH_PX), MAX_WIDTH_PX, MAX_HEIGHT_PX * sum(shares)) / wide))
    widths = [max(1, round(height * share)) for share in shares]
    left, right = _resized(a, widths[0], height), _resized(b, widths[1], height)
    gap = np.full((height, GAP_PX), PAPER[0], dtype=np.uint8)
    placed = []
    for image, shown, at, start in ((a, left, points[:, :2], 0), (b, right, points[:, 2:], left.shape[1] + GAP_PX)):
        scale = np.array(shown.shape[::-1]) / image.shape[::-1]
        placed.append((at + 0.5) * scale - 0.5 + (start, 0))
    dimmed = (np.rint(DIMMED * image).astype(np.uint8) for image in (left, right))
    canvas = np.hstack([next(dimmed), gap, next(dimmed)])
    placed_bits = np.rint(np.hstack(placed) * 2**SUBPIXEL_BITS).astype(np.int64)
    return np.repeat(canvas[:, :, None], 3, axis=2), placed_bits


def _resized(image: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    if image.shape[:2] == (height, width):
        return image
    way = cv2.INTER_AREA if height < len(image) else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(image, (width, height), interpolation=way), dtype=np.uint8)


def even_sample(count: int, most: int) -> Rows:
    """At most `most` of 0 .. count - 1, evenly spaced, with the first and the last."""
    return np.unique(np.rint(np.linspace(0, count - 1, min(count, most))).astype(np.int64))


def _colours(good: Mask, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """RGB (M, 3) of each match."""
    full = np.where(good[:, None], AGREES, DISAGREES).astype(np.float64)
    if np.isnan(values).all():
        return full
    low, high = np.nanmin(values), np.nanmax(values)
    share = np.nan_to_num((values - low) / (high - low) if high > low else values * 0 + 1, nan=1.0)
    return faded(full, share)


def faded(colours: ArrayLike, shares: ArrayLike) -> NDArray[np.float64]:
    """RGB (N, 3) of the colours in full at a share of 1, almost PALE at 0."""
    strength = (MIN_STRENGTH + (1 - MIN_STRENGTH) * np.asarray(shares, dtype=np.float64))[:, None]
    return np.asarray(strength * np.asarray(colours) + (1 - strength) * np.array(PALE), dtype=np.float64)


def _legend(good: Mask, values: NDArray[np.float64], kinds: tuple[str, str] | None, value_name: str) -> list[Entry]:
    count, agreeing = len(good), int(good.sum())
    valued = bool(np.isfinite(values).any())
    entries = [] if valued else [Entry(f"{count:,} matches", [AGREES])]
    if kinds is not None:
        entries = [Entry(f"{agreeing:,} {kinds[0]}", [AGREES]), Entry(f"{count - agreeing:,} {kinds[1]}", [DISAGREES])]
    if valued:
        low, high = np.nanmin(values), np.nanmax(values)
        pale, full = _colours(np.ones(2, dtype=bool), np.array([0.0, 1.0])).tolist()
        entries.append(Entry(f"{value_name} {low:.2f} to {high:.2f}, the fuller the higher", [pale, full]))
    return entries
