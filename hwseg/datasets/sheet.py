"""A contact sheet: pictures of each part with the outlines of their masks, to be looked at before training."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from hwseg.datasets.look import Looked
from hwseg.datasets.survey import Survey
from hwseg.datasets.thumbnail import SIDE, colour
from hwseg.pictures.labels import IGNORE

COLUMNS = 6
MOST = 4 * COLUMNS
"""Pictures of a part that are shown."""

GAP, MARGIN, LINE, TITLE, NAME = 12, 24, 22, 20, 13
GROUND, CELL, INK, FAINT, WRONG = (24, 26, 30), (38, 41, 47), (236, 237, 240), (160, 165, 174), (255, 110, 100)

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def sheet(found: Survey) -> bytes:
    """PNG.  Those of a part that have no view are not shown, unless they could not be read."""
    rows = [(part, looked, _shown(looked)) for part, looked in found.parts.items() if looked]
    cell = SIDE + GAP, SIDE + LINE + GAP
    columns = max(3, min(COLUMNS, max((len(shown) for _, _, shown in rows), default=0)))
    width = 2 * MARGIN + columns * cell[0] - GAP
    heights = [LINE + GAP + -(-len(shown) // columns) * cell[1] for _, _, shown in rows]
    canvas = Image.new("RGB", (width, 2 * MARGIN + 2 * LINE + 2 * GAP + sum(heights)), GROUND)
    draw = ImageDraw.Draw(canvas)
    _head(draw, found, width)
    top = MARGIN + 2 * LINE + 2 * GAP
    for (part, looked, shown), height in zip(rows, heights, strict=True):
        wrong = sum(1 for one in looked if one.faults)
        text = f"{part}: {_count(len(looked))}" + (f", {len(shown)} shown" if len(shown) < len(looked) else "")
        draw.text((MARGIN, top), text, INK, _font(NAME + 3))
        if wrong:
            left = MARGIN + round(draw.textlength(f"{text}  ", _font(NAME + 3)))
            draw.text((left, top), f"{wrong} with faults", WRONG, _font(NAME + 3))
        for number, one in enumerate(shown):
            row, column = divmod(number, columns)
            _cell(canvas, draw, one, (MARGIN + column * cell[0], top + LINE + GAP + row * cell[1]))
        top += height
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _shown(looked: Sequence[Looked]) -> list[Looked]:
    return [one for one in looked if one.view is not None or one.faults][:MOST]


def _count(number: int) -> str:
    return f"{number:,} picture" + ("" if number == 1 else "s")


def _head(draw: ImageDraw.ImageDraw, found: Survey, width: int) -> None:
    """The name of the data set, and its classes with their colours and shares of the known pixels."""
    name = Path(found.source).resolve().name
    draw.text((MARGIN, MARGIN - 4), _cut(draw, name, width - 2 * MARGIN, _font(TITLE)), INK, _font(TITLE))
    *counts, ignored = found.counts()
    total, left, top = max(1, sum(counts)), MARGIN, MARGIN + LINE + GAP
    entries = [(n, found.labels.name(n), counts[n] / total) for n in range(found.labels.classes)]
    if ignored:
        entries.append((IGNORE, "ignored", ignored / (total + ignored)))
    for number, name, share in entries:
        text = f"{name} {100 * share:.3g} %"
        needed = 20 + round(draw.textlength(text, _font(NAME))) + 2 * GAP
        if left + needed > width - MARGIN:
            draw.text((left, top), "...", FAINT, _font(NAME))
            break
        box = (left, top + 1, left + 13, top + 14)
        if number:
            draw.rectangle(box, outline=colour(number, found.labels), width=3)
        else:
            draw.rectangle(box, outline=FAINT, width=1)
        draw.text((left + 20, top), text, FAINT, _font(NAME))
        left += needed


def _cell(canvas: Image.Image, draw: ImageDraw.ImageDraw, one: Looked, corner: tuple[int, int]) -> None:
    left, top = corner
    draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), CELL)
    if one.view is not None:
        height, width = one.view.shape[:2]
        canvas.paste(Image.fromarray(one.view), (left + (SIDE - width) // 2, top + (SIDE - height) // 2))
    else:
        draw.text((left + SIDE // 2, top + SIDE // 2), "cannot be read", WRONG, _font(NAME), anchor="mm")
    if one.faults:
        draw.rectangle((left, top, left + SIDE - 1, top + SIDE - 1), outline=WRONG, width=2)
    name = _cut(draw, one.pair.name, SIDE, _font(NAME))
    draw.text((left, top + SIDE + 4), name, WRONG if one.faults else FAINT, _font(NAME))


def _cut(draw: ImageDraw.ImageDraw, text: str, width: int, font: Font) -> str:
    """A text that fits, its middle left out; characters that cannot be drawn as question marks."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    if draw.textlength(text, font) <= width:
        return text
    kept = len(text)
    while kept > 2 and draw.textlength(f"{text[: kept // 2]}...{text[-(kept // 2) :]}", font) > width:
        kept -= 1
    return f"{text[: kept // 2]}...{text[-(kept // 2) :]}"


def _font(size: int) -> Font:
    return ImageFont.load_default(size)
