"""The counts that DEX publishes and ten times as many, on gates: columns compiled by Verilator.

"rtl" is the Verilog that is synthesized; "gates" is the netlist that synthesis makes of it, over the cell models that
Yosys ships.
"""

from __future__ import annotations

import os
import subprocess
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.rtl.cells import sim_cells
from hwseg.rtl.cores import CORES
from hwseg.rtl.emit import verilog
from hwseg.toolchain import verilator, yosys
from tests.rtl.cores.column import Column

DRIVER = Path(__file__).with_name("products.cpp")
ORDERS = {"most": 0, "least": 1, "words": 2}


def found() -> bool:
    try:
        return bool(verilator.verilator_root())
    except HwsegError:
        return False


pytestmark = [
    pytest.mark.slow,
    pytest.mark.verilator,
    pytest.mark.skipif(not found() or yosys.version() is None, reason="needs Verilator and pyosys (extras sim, synth)"),
]


def compiled(family, lanes: int, level: str, folder: Path) -> Path:
    """A program that runs the driver's file on one column."""
    text = verilog(Column(family, lanes), "column")
    (folder / "rtl.v").write_text(text)
    sources = [folder / "rtl.v"]
    if level == "gates":
        sources = [folder / "gates.v"]
        yosys.synth_xilinx([folder / "rtl.v"], "column", extra=[f"write_verilog -noattr -norename {sources[0]}"])
        sources.append(Path(str(resources.files("pyosys"))) / "share/xilinx/cells_sim.v")
    elif cells := sim_cells(text):
        (folder / "cells.v").write_text(cells)
        sources.append(folder / "cells.v")
    tool = verilator.verilator_root()
    command = [str(tool.executable), "--cc", "--exe", "--build", "--top-module", "column", "-Wno-fatal", "-Wno-lint"]
    command += ["--no-timing", "-O3", "-CFLAGS", "-O1 -std=gnu++20", "--Mdir", str(folder / "build")]
    done = subprocess.run(
        [*command, *map(str, sources), str(DRIVER)],
        capture_output=True,
        text=True,
        env=os.environ | tool.environment(folder),
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, (done.stdout + done.stderr)[-2000:]
    return folder / "build" / "Vcolumn"


def computed(program: Path, family, weights: np.ndarray, x: np.ndarray, folder: Path) -> np.ndarray:
    """Sums [tile, sum] of weights [tile, lane] and activations [tile, sum, lane]."""
    tiles, sums, lanes = x.shape
    head = np.array([lanes, ORDERS[family.order], family.reload_cycles, family.drain(lanes), tiles, sums], "<i4")
    body = b"".join(
        w.astype(np.int8).tobytes() + one.astype(np.int8).tobytes() for w, one in zip(weights, x, strict=True)
    )
    (folder / "in").write_bytes(head.tobytes() + body)
    subprocess.run([program, folder / "in", folder / "out"], check=True, timeout=280)
    return np.fromfile(folder / "out", "<i8").reshape(tiles, sums)


def narrowed(sums: np.ndarray, bits: int) -> np.ndarray:
    """Ports come as unsigned words."""
    low = sums & ((1 << bits) - 1)
    return low - ((low >> (bits - 1)) << bits)


@pytest.mark.parametrize("level", ["rtl", "gates"])
@pytest.mark.parametrize("family", CORES.values(), ids=lambda family: family.name)
def test_the_products_that_dex_publishes_and_ten_times_as_many(family, level, tmp_path):
    """65,280 single products (522,240 plane contributions); 652,800 in sums of 68 lanes (5,222,400) on RTL."""
    x = np.tile(np.arange(-128, 128)[:, None], (255, 1, 1))
    weights = np.arange(-127, 128)[:, None]
    (tmp_path / "one").mkdir()
    program = compiled(family, 1, level, tmp_path / "one")
    sums = narrowed(computed(program, family, weights, x, tmp_path), len(family.core(1).sum))
    assert sums.size == 65_280
    assert x.size * 8 == 522_240
    assert (sums == weights * x[:, :, 0]).all()
    if level == "gates":
        return
    generator = np.random.default_rng(0)
    weights, x = generator.integers(-128, 128, (96, 68)), generator.integers(-128, 128, (96, 100, 68))
    (tmp_path / "many").mkdir()
    program = compiled(family, 68, level, tmp_path / "many")
    sums = narrowed(computed(program, family, weights, x, tmp_path), len(family.core(68).sum))
    assert x.size == 652_800
    assert x.size * 8 == 5_222_400
    assert (sums == (x @ weights[:, :, None])[:, :, 0]).all()
