"""One page of HTML that shows a registration and needs no other file and no network."""

from html import escape
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.files import write_text
from tiepoint.images.data_url import data_url_within
from tiepoint.images.raster import Raster, as_raster
from tiepoint.names import printable
from tiepoint.options import TWO_VIEW_MODELS
from tiepoint.registration.overlay import MAX_SIDE_PX, outline, reduced, warped
from tiepoint.registration.result import Registration
from tiepoint.registration.show import AGREES, DISAGREES
from tiepoint.report.draw import EPIPOLAR_KINDS, PLANE_KINDS, VEIL, VEIL_OPACITY, faded, opacities, window_kinds
from tiepoint.report.payload import json_script, payload, sprite
from tiepoint.types import Image
from tiepoint.version import __version__

MAX_PICTURE_BYTES = 500_000  # each of three pictures, and
MAX_SHEET_BYTES = 1_600_000  # the patches: with base64 and the data about 4.5 MB
NO_VALUE = "–"
COLOURS = {"agrees": AGREES, "disagrees": DISAGREES, "pale": faded([AGREES], [0.0])[0].round().astype(int).tolist()}


def write_report(
    registration: Registration, a: Image | Raster, b: Image | Raster, path: str | Path, *, title: str | None = None
) -> None:
    """Write a page that shows a registration: the verdict, image a over b, tie points with their patches, residuals.

    Without a transform there is no overlay: a refused registration is shown by its matches, and one by a fundamental
    matrix by its tie points, side by side. Where windows were asked, a picture shows what they said, as
    `tiepoint.report.draw.draw_agreement` does. The page stays below 5 MB: images are reduced to 1,600 pixels, and of
    many tie points a thousand are drawn. The page then says so, and its data hold all of them.

    `a` and `b` are the images that were registered, as for `register`; the page is written atomically, and its title is
    by default the images' names. Raises InputError for an unusable image, or one of another size than was registered.
    """
    levels, names = [], []
    for image, name, known in ((a, "image a", registration.a), (b, "image b", registration.b)):
        raster = as_raster(
            image, name, known.band, known.nodata
        )  # the pixels that were registered: turned, of a band, masked
        if (size := raster.pixels.shape[::-1]) != known.size:
            found, needed = ("x".join(map(str, shape)) for shape in (size, known.size))
            fault = f"{found} pixels, but what was registered has {needed}"
            raise InputError(f"{raster.name}: {fault}: give the registered images, in the same order")
        levels.append(raster.to_uint8())
        names.append(printable(raster.name))
    data = payload(registration, (names[0], names[1]))
    title = printable(title or " to ".join(Path(name).name or name for name in names))
    write_text(path, _page(registration, data, levels, title))


def _page(registration: Registration, data: dict[str, Any], levels: list[NDArray[np.uint8]], title: str) -> str:
    reasons = "".join(f"<li>{escape(reason[:1].upper() + reason[1:])}.</li>" for reason in registration.reasons)
    parts = {
        "title": escape(title),
        "version": escape(__version__),
        "state": "registered" if registration.accepted else "refused",
        "view": "pair" if registration.mapping is None else "overlay",
        "verdict": "Registered" if registration.accepted else "Not registered",
        "reasons": f'<ul class="reasons">{reasons}</ul>' if reasons else "",
        "numbers": _numbers(data),
        "facts": _facts(data),
        "note": escape(_note(data)),
        "noun": "tie point" if registration.accepted else "match",
        "nouns": "tie points" if registration.accepted else "matches",
        "kinds": _kinds(registration),
        "colours": "; ".join(f"--{name}: {', '.join(map(str, colour))}" for name, colour in COLOURS.items()),
        "agreement": _agreement(registration),
        "pictures": _pictures(registration, data, levels),
        "data": json_script(data),
        "style": _asset("page.css"),
        "script": _asset("page.js"),
        "panel_script": _asset("panel.js"),
    }
    parts |= {f"overlay_{name}": "" for name in ("tools", "stage", "below", "script")}
    if registration.mapping is not None:
        (width, height), corners = registration.b.size, outline(registration.mapping, registration.a.size)
        edge = " ".join(f"{x:.2f},{y:.2f}" for x, y in corners.tolist())  # pixels of b, centres at integers
        geometry = {"width": width, "height": height, "bottom": f"{height - 0.5:g}", "outline": edge}
        parts["overlay_script"] = f"<script>\n{_asset('overlay.js')}</script>"
        for name in ("tools", "stage", "below"):
            parts[f"overlay_{name}"] = Template(_asset(f"overlay_{name}.html")).substitute(geometry)
    return Template(_asset("page.html")).substitute(parts)


def _pictures(registration: Registration, data: dict[str, Any], levels: list[NDArray[np.uint8]]) -> str:
    """The pictures, each stored in the page once; `use` elements show them where they are needed."""
    sizes = (registration.a.size, registration.b.size)
    shown = {name: (reduced(level), size) for name, level, size in zip("ab", levels, sizes, strict=True)}
    if registration.mapping is not None:
        shown["moved"] = (warped(levels[0], registration.mapping, sizes[1], shown["b"][0].shape[::-1]), sizes[1])
    images = [
        f'<image id="picture-{name}" x="-0.5" y="-0.5" width="{width}" height="{height}" preserveAspectRatio="none" '
        f'href="{data_url_within(picture, MAX_PICTURE_BYTES)}"/>'
        for name, (picture, (width, height)) in shown.items()
    ]
    lines = ['<svg width="0" height="0" aria-hidden="true" class="store"><defs>', *images, "</defs></svg>"]
    if points := data["shown"]["points"]:
        sheet = sprite(levels[0], levels[1], np.array(points))
        lines.append(f'<img id="patches" class="store" alt="" src="{data_url_within(sheet, MAX_SHEET_BYTES)}">')
    return "\n".join(lines)


def _kinds(registration: Registration) -> str:
    """The legend of the lines between the images, as in `tiepoint.report.draw`."""
    total, agreeing = len(registration.points), int(registration.inliers.sum())
    if not registration.accepted:
        return _marks(f"{total:,} matches")
    ours, others = EPIPOLAR_KINDS if registration.model in TWO_VIEW_MODELS else PLANE_KINDS
    return _marks(f"{agreeing:,} {ours}", f"{total - agreeing:,} {others}")


def _marks(*texts: str) -> str:
    """A legend of what agrees and, if there is a second text, what does not."""
    mark = '<span><span style="background: rgb(var(--{}))"></span>{}</span>'
    return " ".join(mark.format(colour, escape(text)) for colour, text in zip(COLOURS, texts, strict=False))


def _agreement(registration: Registration) -> str:
    """The windows that were asked, as tiles over image b; nothing where none were."""
    asked, (width, height) = registration.agreement, registration.b.size
    if asked is None:
        return ""
    side = 0.96 * asked.spacing  # so that neighbours do not touch
    tiles = [
        f'<rect x="{x - side / 2:.2f}" y="{y - side / 2:.2f}" width="{side:.2f}" height="{side:.2f}" '
        f'fill="rgb(var(--{"agrees" if good else "disagrees"}))" fill-opacity="{opacity:.3f}">'
        f"<title>similarity {alike:.2f}</title></rect>"
        for (x, y), good, alike, opacity in zip(
            asked.points.tolist(), asked.recognised, asked.similarity, opacities(asked.similarity), strict=True
        )
    ]
    return Template(_asset("agreement.html")).substitute(
        width=width, height=height, veil=f"rgb({VEIL}, {VEIL}, {VEIL})", veil_opacity=VEIL_OPACITY,
        kinds=_marks(*window_kinds(asked)), tiles="\n".join(tiles),
    )  # fmt: skip


def _numbers(data: dict[str, Any]) -> str:
    """The numbers of the heading, as items of a description list."""
    found, coverage = data["registration"], data["coverage"]
    rows = [
        ("Confidence", f"{found['confidence']:.2f}", ""),
        ("Tie points", f"{found['inliers']:,}", f"of {found['correspondences']:,} correspondences"),
        ("Residual, rms", NO_VALUE if found["rms"] is None else f"{found['rms']:.2f} px", "in B"),
        ("Coverage", NO_VALUE if coverage is None else f"{100 * coverage:.0f} %", "of the overlap"),
    ]
    return "\n".join(
        f"<div><dt>{name}</dt><dd>{value}{f' <small>{more}</small>' if more and value != NO_VALUE else ''}</dd></div>"
        for name, value, more in rows
    )


def _facts(data: dict[str, Any]) -> str:
    """The rows of the table below the images."""
    found = data["registration"]
    rows = [
        (f"Image {name.upper()}", f"{data[name]['name']}, {data[name]['width']:,} × {data[name]['height']:,} px")
        for name in "ab"
    ]
    rows += [
        ("Keypoints", f"{found['keypoints_a']:,} in A, {found['keypoints_b']:,} in B"),
        ("Describer", found["describer"]),
        ("Transform", f"{found['model']} matrix" if found["model"] in TWO_VIEW_MODELS else found["model"]),
    ]
    if (warp := found["warp"]) is not None:
        said = f"{warp['kind']}, not used: {warp['reason']}"
        if warp["taken"]:
            before, after = (f"{warp[f'held_out_{when}']:.2f} px" for when in ("before", "after"))
            residual = f"the median residual of {warp['points']:,} held-out tie points is {after}"
            said = f"{warp['kind']}: {residual}, and {before} by the transform alone"
        rows.append(("Warp", said))
    lines = [f'<tr><th scope="row">{name}</th><td>{escape(value)}</td></tr>' for name, value in rows]
    if (matrix := found["matrix"]) is not None:
        cells = "\n".join("  ".join(f"{value:>13.6g}" for value in row) for row in matrix)
        name = "Fundamental matrix" if found["model"] in TWO_VIEW_MODELS else "Matrix, A to B"
        lines.append(f'<tr><th scope="row">{name}</th><td><pre id="matrix">{cells}</pre></td></tr>')
    return "\n".join(lines)


def _note(data: dict[str, Any]) -> str:
    """Sentences on what the page leaves out and on what its numbers mean."""
    found, shown, rejected = data["registration"], len(data["shown"]["rows"]), len(data["rejected"])
    total = found["inliers"] if found["accepted"] else found["correspondences"]
    notes = []
    if shown < total:
        what, order = "correspondences", "the least similar to the most"
        if found["accepted"]:
            what, order = "tie points", "the largest residual to the smallest"
        notes.append(f"{shown:,} of {total:,} {what} are drawn, an even sample from {order}.")
    others = found["correspondences"] - found["inliers"]
    if rejected < others and found["accepted"]:
        notes.append(f"{rejected:,} of {others:,} other correspondences are drawn.")
    if max(data[name][side] for name in "ab" for side in ("width", "height")) > MAX_SIDE_PX:
        small = f"Images are reduced to {MAX_SIDE_PX:,} px for this page"
        notes.append(f"{small}; patches and coordinates are of the original size.")
    if found["accepted"] and found["model"] in TWO_VIEW_MODELS:
        notes.append("Residuals are Sampson distances: how far a tie point lies from its epipolar lines.")
    elif found["accepted"]:
        bent = found["warp"] is not None and found["warp"]["taken"]
        way = "warp" if bent else "transform"
        notes += [
            "Coverage is the share of the overlap of both images that lies inside the convex hull of the tie points.",
            f"Each arrow leads from where the {way} maps a point of A to the matching point in B.",
        ]
        if bent:
            notes.append("A residual is the distance of a tie point from where a warp fitted without it maps it.")
    return " ".join([*notes, "Pixel centres have integer coordinates; x points right and y points down."])


def _asset(name: str) -> str:
    return resources.files(__package__ or "").joinpath(name).read_text(encoding="utf-8")
