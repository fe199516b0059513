"""A real microscopy picture through simulated hardware: from the package index, segmented, compared, drawn.

The picture is the fluorescence micrograph of nuclei, 512x512, with a hand-drawn mask, that the stardist package carries
as its example.  Only these two files are taken from its wheel, and both are checked by SHA-256.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hwseg.caches import kept
from hwseg.errors import HwsegError, require
from hwseg.files import build_folder, read_zip_member
from hwseg.pictures.labels import Labels
from hwseg.pictures.masks import read_mask
from hwseg.pictures.read import read_one

if TYPE_CHECKING:
    from hwseg.sim.simulate import Progress, Simulation

Pixels = NDArray[np.uint8]

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
"""(top, left, height, width) of the part that the demo segments; nothing of it is in nuclei-dsb2018."""


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
    """What the simulated engine did with the demo's picture; `dice` is against the hand-drawn mask."""

    simulation: Simulation
    dice: float
    clock_mhz: float


def run(out: Path, say: Callable[[str], None], progress: Progress | None = None) -> Segmented:
    """Compile, simulate and draw into the folder `out`, which is whole or absent.

    It holds `demo.png` (picture, mask, comparison), `picture.png`, `drawn.png` (by hand), `mask.png`, `demo.json`, and
    the build folder `build`.
    """
    from hwseg import models
    from hwseg.builds.build import compile_model
    from hwseg.builds.simulation import simulate
    from hwseg.pictures.draw import mask_png
    from hwseg.pictures.source import labels_of, read_input

    say(f"picture: {PACKAGE}, rows {CROP[0]} to {CROP[0] + CROP[2] - 1}, columns {CROP[1]} to {CROP[1] + CROP[3] - 1}")
    picture = nuclei().crop(*CROP)
    with build_folder(out, owner="hwseg-demo") as folder:
        Image.fromarray(picture.pixels).save(folder / "picture.png")
        Image.fromarray(picture.mask * np.uint8(255)).save(folder / "drawn.png")
        say(f"compile: {NETWORK} for an array of {ARRAY}")
        build = compile_model(models.path(NETWORK), array=ARRAY, out=folder / "build")
        say("simulate: the simulator is compiled first, which takes minutes where it is not cached")
        image = read_input(folder / "picture.png", build.program.graph)
        simulation = simulate(folder / "build", image, progress=progress)
        mask = np.asarray(simulation.mask, np.uint8)
        result = Segmented(simulation, dice(mask, picture.mask), float(build.report["clock_mhz"]))
        (folder / "mask.png").write_bytes(mask_png(mask, labels_of(build.program.graph)))
        panels(picture, mask).save(folder / "demo.png")
        (folder / "demo.json").write_text(json.dumps(summary(result), indent=1) + "\n")
    return result


def summary(result: Segmented) -> dict[str, object]:
    """The figures of a run, for a file."""
    simulation = result.simulation
    return {
        "network": NETWORK,
        "array": ARRAY,
        "crop": CROP,
        "passed": simulation.passed,
        "mismatches": simulation.mismatches,
        "cycles": simulation.cycles,
        "predicted_cycles": simulation.predicted_cycles,
        "dice": round(result.dice, 4),
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


def panels(picture: Picture, found: Pixels, zoom: int = 3) -> Image.Image:
    """Three views side by side: the picture, the hardware's mask on it, and where that differs from the hand-drawn one.

    In the third, green is in both masks, orange only in the hardware's, blue only in the hand-drawn one.
    """
    grey = _stretched(picture.pixels)
    plain = np.repeat(grey[..., None], 3, axis=2)
    inside, drawn = found.astype(bool), picture.mask.astype(bool)
    overlay, compared = plain.copy(), plain // 2
    overlay[inside] = overlay[inside] // 2 + np.array([0, 110, 60], np.uint8)
    overlay[_outline(inside)] = (0, 220, 120)
    for where, colour in (
        (inside & drawn, (0, 158, 115)),
        (inside & ~drawn, (230, 159, 0)),
        (drawn & ~inside, (0, 114, 178)),
    ):
        compared[where] = colour
    gap = np.full((grey.shape[0], max(2, grey.shape[1] // 32), 3), 255, np.uint8)
    row = np.concatenate([plain, gap, overlay, gap, compared], axis=1)
    return Image.fromarray(row).resize((row.shape[1] * zoom, row.shape[0] * zoom), Image.Resampling.NEAREST)


def _stretched(pixels: Pixels) -> Pixels:
    low, high = np.percentile(pixels, (0.5, 99.5))
    scaled: Pixels = np.clip((pixels - float(low)) * (255 / max(1.0, float(high - low))), 0, 255).astype(np.uint8)
    return scaled


def _outline(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    padded = np.pad(mask, 1)
    core = padded[:-2, 1:-1] & padded[2:, 1:-1] & padded[1:-1, :-2] & padded[1:-1, 2:]
    result: NDArray[np.bool_] = mask & ~core
    return result
