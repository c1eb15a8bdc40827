"""What a registration shows of itself in notebooks and plots."""

from __future__ import annotations

from collections.abc import Mapping as Named
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tiepoint.errors import InputError
from tiepoint.features.view import ViewInfo
from tiepoint.images.data_url import data_url_within
from tiepoint.registration.overlay import MAX_SIDE_PX, Mapping, overlay
from tiepoint.registration.reread import read_picture
from tiepoint.types import Picture, Points

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Sky blue and orange of Okabe and Ito, which the colour-blind tell apart as well.
AGREES, DISAGREES = (86, 180, 233), (230, 159, 0)
MAX_EMBEDDED_SIDE_PX, MAX_EMBEDDED_BYTES = 640, 75_000  # of which base64 makes 100 kB
MAX_EMBEDDED_SOURCE_PX = 2**24  # of a file that a notebook reads again unasked
MAX_ARROWS = 500
ARROW_SCALES = (1, 2, 5, 10, 20, 50, 100, 200, 500)


def embed_overlay(a: ViewInfo, b: ViewInfo, mapping: Mapping) -> str | None:
    """Image a over image b as an element of HTML of at most about 100 kB; None where not both can be read again."""
    if max(view.size[0] * view.size[1] for view in (a, b)) > MAX_EMBEDDED_SOURCE_PX:
        return None
    try:
        first, second = (read_picture(view, None, MAX_EMBEDDED_SIDE_PX) for view in (a, b))
        picture = overlay(first, second, mapping, sizes=(a.size, b.size), longest=MAX_EMBEDDED_SIDE_PX)
    except InputError:
        return None
    caption = "Image a in red over image b in cyan: grey where both agree"
    return f'<img alt="{caption}" title="{caption}" src="{data_url_within(picture, MAX_EMBEDDED_BYTES)}">'


def draw_residuals(size: tuple[int, int], points: Points, mapped: Points | None) -> str:
    """An SVG of points (N, 2) in the frame of b, each with a line from where its partner in a is mapped (N, 2)."""
    rows = np.unique(np.linspace(0, len(points) - 1, min(len(points), MAX_ARROWS)).astype(int))
    starts = points if mapped is None else mapped
    scale = 1 if mapped is None else arrow_scale(size, points - mapped)
    arrows = np.hstack([starts, points - starts])[rows].tolist()
    lines = [f"M{x:.1f} {y:.1f}l{scale * dx:.1f} {scale * dy:.1f}" for x, y, dx, dy in arrows]
    dots = [f"M{x:.1f} {y:.1f}h0" for x, y, _, _ in arrows]
    stroke = f'fill="none" stroke="rgb{AGREES}" stroke-linecap="round" vector-effect="non-scaling-stroke"'
    title = "Points in image b" if mapped is None else f"Residuals in image b, drawn {scale} times as long"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="320" viewBox="-0.5 -0.5 {size[0]} {size[1]}" role="img">'
        f'<title>{title}</title><rect x="-0.5" y="-0.5" width="{size[0]}" height="{size[1]}" fill="#1d2329"/>'
        f'<path d="{"".join(lines)}" stroke-width="1.5" {stroke}/>'
        f'<path d="{"".join(dots)}" stroke-width="4" {stroke}/></svg>'
    )


def html_table(rows: Named[str, str], drawing: str) -> str:
    """A small table of names and values above a drawing."""
    cells = "".join(
        f'<tr><th style="text-align: left">{escape(name)}</th><td style="text-align: left">{escape(value)}</td></tr>'
        for name, value in rows.items()
    )
    return f"<div><table>{cells}</table>{drawing}</div>"


def arrow_scale(size: tuple[int, int], vectors: Points) -> int:
    """How many times residuals (N, 2) are drawn longer, so that the longest takes a twentieth of the image at most."""
    longest = float(np.hypot(*vectors.T).max(initial=1e-9))
    return max((scale for scale in ARROW_SCALES if scale * longest <= max(size) / 20), default=1)


def plot_registration(
    levels: tuple[Picture, Picture],
    sizes: tuple[tuple[int, int], tuple[int, int]],
    mapping: Mapping | None,
    points: Points,
    mapped: Points | None,
    ax: Axes | None = None,
) -> Axes:
    """Plot image a over image b, or b alone where nothing maps a, with points of b and their residuals.

    `levels` are both images as `read_picture` returns them, and `sizes` those of the full ones; `points` (N, 2) are
    pixels of b, and `mapped` those where a's are mapped. `ax` are the axes to plot into; new ones if None.
    """
    from matplotlib import pyplot  # matplotlib takes long to import

    axes = pyplot.subplots()[1] if ax is None else ax
    width, height = sizes[1]
    picture = levels[1] if mapping is None else overlay(*levels, mapping, sizes=sizes, longest=MAX_SIDE_PX)
    axes.imshow(picture, cmap="gray", extent=(-0.5, width - 0.5, height - 0.5, -0.5))
    colour = tuple(level / 255 for level in AGREES)
    axes.plot(*points.T, ".", color=colour, markersize=4)
    if mapped is not None and len(points):
        scale = arrow_scale(sizes[1], points - mapped)
        axes.quiver(
            *mapped.T, *(points - mapped).T, color=colour, angles="xy", scale_units="xy", scale=1 / scale, width=0.002
        )
        axes.set_xlabel(f"residuals drawn {scale} times as long")
    return axes


def data_frame(columns: Named[str, NDArray[Any]]) -> Any:
    """A pandas.DataFrame of the columns. Raises InputError where pandas is not installed."""
    try:
        import pandas
    except ImportError:
        raise InputError("a data frame needs pandas, which is not installed: pip install pandas") from None
    return pandas.DataFrame(columns)
