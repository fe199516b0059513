"""The page of a conversion: figures, what was replaced, which layer hurts, the worst pictures side by side."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment
from PIL import Image

from hwseg.pictures.meaning import Meaning
from hwseg.power.band import OBJECTIVES
from hwseg.quant.convert.convert import Converted
from hwseg.quant.convert.measure import Comparison, Noise
from hwseg.quant.convert.pictures import Picture
from hwseg.quant.convert.reading import Reading
from hwseg.quant.train.plots import agreement

SHOWN = 4
COLUMNS = ("picture", "float mask", "integer mask", "where they differ", "true mask")
_CELL, _GAP = 192, 6

TEMPLATE = Path(__file__).with_name("page.html.j2")


@dataclass(frozen=True)
class Outcome:
    """What was written, and what it came to.  report: the content of the JSON file."""

    model: Path
    report: Mapping[str, Any]
    comparison: Comparison
    noise: list[Noise]
    converted: Converted


def page(outcome: Outcome, pictures: Mapping[str, Picture], meaning: Meaning, size: tuple[int, int]) -> str:
    """HTML that needs no other file."""
    found = outcome.comparison
    names = {"agree": "Dice between float and integer masks", "loss of dice": "loss of Dice against the masks"}
    means = [(names.get(key, key), value) for key, value in found.to_dict()["means"].items()]
    worst = []
    for one in found.worst[:SHOWN]:
        strip = _strip(pictures[one.name], found.masks[one.name], meaning, size)
        caption = f"{one.name}: Dice {one.agree:.4f} between the masks. " + ", ".join(COLUMNS[: strip[1]]) + "."
        worst.append({"data": base64.b64encode(strip[0]).decode(), "caption": caption})
    template = Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    found_bits = _search(outcome.report["search"]) if outcome.report["search"] else None
    return template.render(
        r=outcome.report, means=means, worst=worst, pictures=len(found.pictures), bits=found_bits,
        reading=Reading(**outcome.report["reading"]),
    )  # fmt: skip


def _search(search: Mapping[str, Any]) -> dict[str, Any]:
    """What `--bits mixed` measured: a plot, and a row for each choice of bits, the one at 8 bits first."""
    points, cost = search["points"], OBJECTIVES[search["objective"]]
    plot = agreement(points, search["chosen"], cost)
    rows = [
        {
            "chosen": number == search["chosen"], "share": row[cost] / points[0][cost], "cycles": row["cycles"],
            "energy": row["energy_mj"], "dice": row["dice"], "bits": counted(row["bits"]),
        }
        for number, row in enumerate(points)
    ]  # fmt: skip
    return {"plot": base64.b64encode(plot).decode(), "rows": rows}


def counted(bits: Mapping[str, int]) -> str:
    """How many activations have how many bits: `8 bits: 3, 4 bits: 9`."""
    numbers = list(bits.values())
    return ", ".join(f"{count} bits: {numbers.count(count)}" for count in sorted(set(numbers), reverse=True))


def _strip(picture: Picture, masks: Any, meaning: Meaning, size: tuple[int, int]) -> tuple[bytes, int]:
    """Picture, both masks, their difference and the true mask, side by side; and how many these are."""
    shown = picture.prepared(meaning, size)[0].values()
    grey = (255 * shown[:, :, : 3 if shown.shape[2] >= 3 else 1]).astype(np.uint8)
    float_mask, integer_mask, target = masks
    most = max(1, int(max(float_mask.max(), integer_mask.max())))
    parts = [np.broadcast_to(grey, (*grey.shape[:2], 3)) if grey.shape[2] == 1 else grey]
    parts += [_grey(mask, most) for mask in (float_mask, integer_mask)]
    differ = np.zeros((*float_mask.shape, 3), np.uint8)
    differ[float_mask > integer_mask] = (230, 120, 20)
    differ[float_mask < integer_mask] = (30, 110, 220)
    parts.append(differ)
    if target is not None:
        parts.append(_grey(np.where(target == 255, 0, target), most))
    height = round(_CELL * size[0] / size[1])
    canvas = Image.new("RGB", (len(parts) * (_CELL + _GAP) - _GAP, height), "white")
    for i, part in enumerate(parts):
        canvas.paste(Image.fromarray(np.ascontiguousarray(part)).resize((_CELL, height)), (i * (_CELL + _GAP), 0))
    buffer = io.BytesIO()
    canvas.save(buffer, "PNG")
    return buffer.getvalue(), len(parts)


def _grey(mask: np.ndarray, most: int) -> np.ndarray:
    scaled = (mask.astype(np.uint32) * 255 // most).clip(0, 255).astype(np.uint8)
    return np.repeat(scaled[:, :, None], 3, axis=2)
