"""A title above a picture and a legend below it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from tiepoint.types import Picture

PAPER, INK, SOFT_INK = (255, 255, 255), (29, 35, 41), (91, 102, 112)
SMALLEST_FONT_PX, LARGEST_FONT_PX = 13, 24


class Entry(NamedTuple):
    """A line of a legend: a text, and before it a strip of colours, which may be a single one or missing."""

    text: str
    colours: Sequence[Sequence[float]] = ()


def captioned(picture: Picture, title: str, legend: Sequence[Entry]) -> Picture:
    """The picture, RGB (H, W, 3), between a title and a legend, whose texts wrap at its width: RGB (H + caption, W, 3).

    No room is left for an empty title. The entries of the legend follow one another as far as they fit on a line.
    """
    width = picture.shape[1]
    size = round(min(max(width / 64, SMALLEST_FONT_PX), LARGEST_FONT_PX))
    above = _strip(width, size + 2, [Entry(title)] if title else [], INK)
    return np.vstack([above, picture, _strip(width, size, legend, SOFT_INK)])


def _strip(width: int, size: int, entries: Sequence[Entry], ink: tuple[int, int, int]) -> Picture:
    """The entries as text on paper, (height, width, 3); of no height without any."""
    font = ImageFont.load_default(size)
    line, pad, mark = round(1.55 * size), round(0.7 * size), round(2.2 * size)
    x, y = float(pad), round(0.4 * size)
    texts: list[tuple[float, int, str]] = []
    marks: list[tuple[float, int, Sequence[Sequence[float]]]] = []
    for entry in entries:
        room = mark + size // 2 if entry.colours else 0
        if x > pad and x + room + font.getlength(entry.text) > width - pad:
            x, y = float(pad), y + line
        if entry.colours:
            marks.append((x, y, entry.colours))
            x += room
        indent = x
        for word in entry.text.split():
            if x > indent and x + font.getlength(word) > width - pad:
                x, y = indent, y + line
            texts.append((x, y, word))
            x += font.getlength(word + " ")
        x += round(1.2 * size)
    sheet = Image.new("RGB", (width, y + line + round(0.25 * size) if entries else 0), PAPER)
    pen = ImageDraw.Draw(sheet)
    for left, top, text in texts:
        pen.text((left, top), text, fill=ink, font=font)
    for left, top, colours in marks:
        sheet.paste(_ramp(colours, mark, round(0.6 * size)), (round(left), top + round(0.35 * size)))
    return np.asarray(sheet)


def _ramp(colours: Sequence[Sequence[float]], width: int, height: int) -> Image.Image:
    at = np.linspace(0, len(colours) - 1, width)
    row = [np.interp(at, np.arange(len(colours)), channel) for channel in zip(*colours, strict=True)]
    return Image.fromarray(np.rint(np.broadcast_to(np.transpose(row), (height, width, 3))).astype(np.uint8))
