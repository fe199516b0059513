"""A real microscopy picture by tiles: from the package index, segmented, one tile simulated, compared, drawn.

The picture is the fluorescence micrograph of nuclei, 512x512, with a hand-drawn mask, that the stardist package carries
as its example.  Only these two files are taken from its wheel, and both are checked by SHA-256.

One tile goes through the Verilog, value for value and cycle for cycle; all others through the golden model, which the
Verilog was compared with.  Put together, they are compared with the picture computed at once.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from hwseg.caches import kept
from hwseg.errors import HwsegError, require
from hwseg.files import build_folder, read_zip_member
from hwseg.pictures.labels import Labels
from hwseg.pictures.masks import read_mask
from hwseg.pictures.raster import raster
from hwseg.pictures.read import read_one
from hwseg.pictures.tiles import Grid, Tile, grid
from hwseg.pictures.whole import whole

if TYPE_CHECKING:
    from hwseg.builds.build import Build
    from hwseg.sim.simulate import Simulation
    from hwseg.trust.judge import Doubts

Pixels = NDArray[np.uint8]

Progress = Callable[[int, int, str], None]

NETWORK = "nuclei-mixed"
ARRAY = "8x8x8"
"""Small enough that its simulator is compiled in a few minutes."""

PACKAGE = "stardist==0.9.2"
TARGET = ("--python-version", "3.11", "--implementation", "cp", "--abi", "cp311")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_24_x86_64")
"""One wheel whatever runs hwseg: the picture is the same in all, and nothing of it is executed."""

MEMBERS = {
    "img2d.tif": "f9ccc1571b92c861ff87e28463068b43f61bd47357ed0503f711e5cd1eb97750",
    "mask2d.tif": "59ad5e820b7982ca9d13e946fa6e7f64e2714899e00a2ae6c69aa79aad53d46f",
}
"""Files of `stardist/data/images/` in the wheel and their SHA-256."""


SEEN = (124, 36, 256, 256)
"""(top, left, height, width) of the part that 4dbbb275960a of nuclei-dsb2018 shows too, without the noise."""

CROP = (192, 384, 128, 128)
"""(top, left, height, width) of a part of which nothing is in nuclei-dsb2018, for benchmarks and examples."""

TILE = (200, 200)
"""Of the demo: 4 x 4 tiles make the picture, and one is simulated in less than a minute."""

SIMULATED = (1, 3)
"""Row and column of the tile that is: nothing that it gives is in nuclei-dsb2018."""


@dataclass(frozen=True)
class Picture:
    """8-bit pixels [height, width] and the hand-drawn mask, 1 inside nuclei."""

    pixels: Pixels
    mask: Pixels

    def crop(self, top: int, left: int, height: int, width: int) -> Picture:
        """A rectangle of both."""
        rows, columns = self.mask.shape
        inside = 0 <= top <= rows - height and 0 <= left <= columns - width and height > 0 and width > 0
        require(inside, "crop", f"must lie in {rows}x{columns}, not {height}x{width} at {top},{left}")
        window = np.s_[top : top + height, left : left + width]
        return Picture(self.pixels[window], self.mask[window])


@dataclass(frozen=True)
class Segmented:
    """The demo's mask, uint8 [H, W], and what the simulated engine did with one of its tiles.

    grid: how the picture was cut; tile: the simulated one.  different: pixels that differ from the picture computed at
    once.  dice: against the hand-drawn mask, of all that no training picture shows.  doubts: what the same integers say
    of the mask; None where nothing was fitted to the network.
    """

    mask: Pixels
    simulation: Simulation
    grid: Grid
    tile: Tile
    different: int
    dice: float
    clock_mhz: float
    doubts: Doubts | None = None

    @property
    def passed(self) -> bool:
        """Whether nothing differs from anything that it was compared with."""
        return self.simulation.passed and self.different == 0


def run(out: Path, say: Callable[[str], None], progress: Progress | None = None) -> Segmented:
    """Compile, simulate and draw into the folder `out`, which is whole or absent.

    It holds `demo.png` (picture, mask, comparison, confidence), `picture.png`, `drawn.png` (by hand), `mask.png`,
    `demo.json`, `cells.png` (a part of the picture, of the network's own size), and the build folder `build`.

    progress: called with what is done, of how much, and in which step.
    """
    from hwseg import models
    from hwseg.builds.build import compile_model
    from hwseg.pictures.draw import mask_png
    from hwseg.pictures.source import labels_of

    picture = nuclei()
    say(f"picture: {PACKAGE}, {picture.pixels.shape[0]}x{picture.pixels.shape[1]}")
    with build_folder(out, owner="hwseg-demo") as folder:
        Image.fromarray(picture.pixels).save(folder / "picture.png")
        Image.fromarray(picture.mask * np.uint8(255)).save(folder / "drawn.png")
        Image.fromarray(picture.crop(*CROP).pixels).save(folder / "cells.png")
        say(f"compile: {NETWORK} for tiles of {TILE[0]}x{TILE[1]} on an array of {ARRAY}")
        build = compile_model(models.path(NETWORK), array=ARRAY, out=folder / "build", size=TILE)
        result = _segmented(picture, build, say, progress or (lambda done, total, step: None))
        (folder / "mask.png").write_bytes(mask_png(result.mask, labels_of(build.program.graph)))
        panels(picture, result).save(folder / "demo.png", optimize=True)
        (folder / "demo.json").write_text(json.dumps(summary(result), indent=1) + "\n")
    return result


def _segmented(picture: Picture, build: Build, say: Callable[[str], None], progress: Progress) -> Segmented:
    """Every tile: one on the simulated engine, the others in the golden model; then the whole picture at once."""
    from hwseg import golden
    from hwseg.builds.simulation import simulate
    from hwseg.reach import reshaped
    from hwseg.segment.engines import network_of
    from hwseg.trust.graph import judge_with, trust_of
    from hwseg.trust.judge import Doubts

    graph = build.program.graph
    network = network_of(graph, "")
    assert network.reach is not None
    prepared = whole(raster(picture.pixels, "picture"), network.pixels, network.shape)
    cuts = grid(prepared.size, network.size, network.size, network.reach)
    tiles = list(cuts)
    chosen = tiles[SIMULATED[0] * len(cuts.columns) + SIMULATED[1]]
    say("simulate: the simulator is compiled first, which takes minutes where it is not cached")
    simulation = simulate(
        build.path,
        prepared.tile(chosen, cuts.tile),
        progress=lambda cycles, expected, layer: progress(cycles, expected, f"simulate: {layer}"),
    )
    mask = np.zeros(cuts.whole, np.uint8)
    say(f"golden model: the other {len(tiles) - 1} tiles, and the whole picture at once")
    for number, tile in enumerate(tiles):
        progress(number, len(tiles), "golden model")
        simulated = tile is chosen
        found = simulation.mask if simulated else golden.run(graph, prepared.tile(tile, cuts.tile), taps=()).mask
        mask[tile.place] = np.asarray(found, np.uint8)[tile.taken]
    head = graph.head.tensor
    result = golden.run(reshaped(graph, cuts.whole), prepared.window((0, 0), cuts.whole), taps=(head,))
    rows, columns = (slice(0, length) for length in prepared.size)
    mask, once, sums = mask[rows, columns], result.mask[rows, columns], result.tensors[head][rows, columns]
    trust = trust_of(graph)
    doubts = None if trust is None else Doubts.of(judge_with(graph, trust), sums, once)
    outside = np.ones(mask.shape, bool)
    outside[SEEN[0] : SEEN[0] + SEEN[2], SEEN[1] : SEEN[1] + SEEN[3]] = False
    found_dice = dice(mask[outside], picture.mask[outside])
    clock = float(build.report["clock_mhz"])
    return Segmented(mask, simulation, cuts, chosen, int((mask != once).sum()), found_dice, clock, doubts)


def summary(result: Segmented) -> dict[str, object]:
    """The figures of a run, for a file."""
    simulation, place = result.simulation, result.tile.place
    return {
        "network": NETWORK,
        "array": ARRAY,
        "picture": result.grid.picture,
        "tile": result.grid.tile,
        "tiles": len(result.grid),
        "computed beyond the picture": round(result.grid.surplus, 4),
        "simulated": {"rows": [place[0].start, place[0].stop - 1], "columns": [place[1].start, place[1].stop - 1]},
        "passed": result.passed,
        "mismatches": simulation.mismatches,
        "cycles": simulation.cycles,
        "predicted_cycles": simulation.predicted_cycles,
        "different from the picture at once": result.different,
        "dice": round(result.dice, 4),
        "trust": None if result.doubts is None else result.doubts.json(),
    }


def nuclei() -> Picture:
    """The picture and its mask, from the cache or the package index."""
    folder = kept("demo", (PACKAGE, MEMBERS), _fetch)
    picture = read_one(folder / "img2d.tif").pixels[:, :, 0]
    require(int(picture.max()) < 256, str(folder), "must hold a picture of values below 256", "delete it and try again")
    return Picture(picture.astype(np.uint8), read_mask(folder / "mask2d.tif", Labels(1, "instances")))


def _fetch(folder: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="hwseg-demo-") as scratch:
        platforms = [word for platform in PLATFORMS for word in ("--platform", platform)]
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        command += ["--only-binary", ":all:", *TARGET, *platforms, "--dest", scratch, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
        wheels = sorted(Path(scratch).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            told = (done.stderr.strip().splitlines() or ["nothing was downloaded"])[-1]
            raise HwsegError(PACKAGE, f"must come from the package index: {told}", "check the network and pip's index")
        for name in MEMBERS:
            content = read_zip_member(wheels[0], f"stardist/data/images/{name}")
            _require_digest(str(wheels[0].name), name, content)
            (folder / name).write_bytes(content)


def _require_digest(place: str, name: str, content: bytes) -> None:
    found = hashlib.sha256(content).hexdigest()
    rule = f"{name} must have SHA-256 {MEMBERS[name][:12]}..., not {found[:12]}..."
    require(found == MEMBERS[name], place, rule, "delete the file and try again")


def dice(found: Pixels, drawn: Pixels) -> float:
    """Twice the overlap over the sum of both areas; 1 where both are empty."""
    total = int(found.astype(bool).sum()) + int(drawn.astype(bool).sum())
    return 2 * int((found.astype(bool) & drawn.astype(bool)).sum()) / total if total else 1.0


PALETTE = 64
"""Colours of the drawing, so that it is small."""
GAP, CAPTION, LETTER = 12, 26, 15
"""Pixels between views, under them for words, and of these."""


def panels(picture: Picture, result: Segmented) -> Image.Image:
    """The views, two in a row, with what they are."""
    count, (height, width) = len(result.grid), result.grid.tile
    said = (
        "A real micrograph",
        f"Mask by {count} tiles of {height}x{width}; framed: the one simulated in Verilog",
        "By hand and hwseg (green), only hwseg (orange), only by hand (blue)",
        "Confidence: the darker, the less sure",
    )
    sheet = _captioned(views(picture, result), said)
    return sheet.quantize(PALETTE, Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)


def views(picture: Picture, result: Segmented) -> list[Pixels]:
    """The picture, the mask on it, how that differs from the hand-drawn one, and how sure it is, each [H, W, 3].

    In the second, tiles are parted by lines and the simulated one is framed.  In the third, green is in both masks,
    orange only in hwseg's, blue only in the hand-drawn one.
    """
    grey = _stretched(picture.pixels)
    plain = np.repeat(grey[..., None], 3, axis=2)
    inside, drawn = result.mask.astype(bool), picture.mask.astype(bool)
    overlay, compared = plain.copy(), plain // 2
    overlay[inside] = overlay[inside] // 2 + np.array([0, 110, 60], np.uint8)
    overlay[_outline(inside)] = (0, 220, 120)
    _draw_tiles(overlay, result)
    for where, colour in (
        (inside & drawn, (0, 158, 115)),
        (inside & ~drawn, (230, 159, 0)),
        (drawn & ~inside, (0, 114, 178)),
    ):
        compared[where] = colour
    found = [plain, overlay, compared]
    if result.doubts is not None:
        found.append(np.repeat(result.doubts.confidence[..., None], 3, axis=2))
    return found


def _draw_tiles(canvas: Pixels, result: Segmented) -> None:
    """Lines where one tile's part ends and the next begins, and a frame around that of the simulated one."""
    for cut in result.grid.rows[1:]:
        canvas[cut.first] = canvas[cut.first] // 2 + 90
    for cut in result.grid.columns[1:]:
        canvas[:, cut.first] = canvas[:, cut.first] // 2 + 90
    rows, columns = result.tile.place
    frame = np.zeros(canvas.shape[:2], bool)
    frame[rows, columns] = True
    frame[rows.start + 3 : rows.stop - 3, columns.start + 3 : min(columns.stop, canvas.shape[1]) - 3] = False
    canvas[frame] = (255, 220, 0)


def _captioned(views: Sequence[Pixels], said: Sequence[str]) -> Image.Image:
    """Views, two in a row, each with its sentence under it."""
    height, width = views[0].shape[:2]
    rows = -(-len(views) // 2)
    sheet = Image.new("RGB", (2 * width + GAP, rows * (height + CAPTION)), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTER)
    for number, (view, sentence) in enumerate(zip(views, said, strict=False)):
        left, top = number % 2 * (width + GAP), number // 2 * (height + CAPTION)
        sheet.paste(Image.fromarray(view), (left, top))
        pen.text((left + 2, top + height + 5), sentence, fill=(40, 40, 40), font=font)
    return sheet


def _stretched(pixels: Pixels) -> Pixels:
    low, high = np.percentile(pixels, (0.5, 99.5))
    scaled: Pixels = np.clip((pixels - float(low)) * (255 / max(1.0, float(high - low))), 0, 255).astype(np.uint8)
    return scaled


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    result: NDArray[np.bool_] = mask & ~core
    return result
