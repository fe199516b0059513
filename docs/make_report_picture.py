"""docs/report.png: two views of a real report in a browser, one light, one dark.

    python docs/make_report_picture.py

needs the extra `dev` (the browser) and the demo's picture, which comes from the package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from PIL import Image

from hwseg import models
from hwseg.builds.build import compile_model
from hwseg.demo import CROP, NETWORK, nuclei

HERE = Path(__file__).parent
SIZE = (1150, 1290)
SCALE = 0.62
GAP = 16
VIEWS = (("The network and its costs", False), ("Timeline", True))
"""The heading at the top of each view, and whether it is dark."""


def main() -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        Image.fromarray(nuclei().crop(*CROP).pixels).save(folder / "cells.png")
        build = compile_model(
            models.path(NETWORK), array="16x8x8-dsp", out=folder / "build", calibrate=folder / "cells.png"
        )
        views = [shot(build.path / "report.html", *view, folder / f"{number}.png") for number, view in enumerate(VIEWS)]
    sheet = Image.new("RGB", (sum(v.width for v in views) + GAP, views[0].height), "white")
    left = 0
    for view in views:
        sheet.paste(view, (left, 0))
        left += view.width + GAP
    sheet.quantize(256, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE).save(HERE / "report.png", optimize=True)


def shot(page: Path, heading: str, dark: bool, path: Path) -> Image.Image:
    """The page from `heading` on, scaled."""
    find = f'[...document.querySelectorAll("h2")].find((h) => h.textContent === "{heading}").scrollIntoView(); 1'
    bare = 'document.documentElement.style.scrollbarWidth = "none"; 1'
    job = {"url": page.as_uri(), "dark": dark, "size": SIZE, "steps": [bare, find, f"shot:{path}"]}
    program = HERE.parent / "tests" / "browser" / "browse.py"
    subprocess.run([sys.executable, str(program)], input=json.dumps(job), text=True, capture_output=True, check=True)
    with Image.open(path) as image:
        size = (round(image.width * SCALE), round(image.height * SCALE))
        return image.convert("RGB").resize(size, Image.Resampling.LANCZOS)


if __name__ == "__main__":
    main()
