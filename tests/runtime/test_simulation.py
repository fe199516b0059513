"""The packaged top level at its PS7-facing ports, driven by the driver: slow memory, errors, overhead, notebook."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.rtl.isa import LOAD, Opcode
from hwseg.runtime import Accelerator, read_package

pytestmark = [pytest.mark.verilator]

pytest.importorskip("cocotb")

SIM = Path(__file__).parents[2] / "sim"


def opened(folder, **options):
    from hwseg.sim.zynq import SimulatedBoard, ports_of

    package = read_package(folder)
    memory_bytes = sum(package.model(name).total_bytes + 4096 for name in package.models)
    options = {"ports": ports_of(package), **options}
    return Accelerator(package, SimulatedBoard(folder / "hardware", memory_bytes=memory_bytes, **options))


@pytest.mark.parametrize("seed", [1, 2])
def test_slow_memory_and_stalls_change_no_value_and_no_rule_of_axi3_is_broken(folder, expected, seed):
    with opened(folder, latency=(5, 120), stalls=True, seed=seed) as accelerator:
        for name in accelerator.package.models:
            pixels, sums, masks = expected[name]
            result = accelerator.segment(pixels[0], name)
            assert (result.sums == sums[0]).all()
            assert (result.mask == masks[0]).all()
        assert accelerator.backend.state()["violations"] == 0


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [({}, False), ({"read_ports": 0b0100}, True), ({"write_ports": 0b0001}, True)],
    ids=["as packaged", "no reads at HP0", "no writes at HP2"],
)
def test_a_request_at_a_port_that_is_not_the_boards_is_a_violation(folder, expected, wrong, broken):
    """And as it is packaged, nothing is ever asked of the other direction of either port."""
    from hwseg.sim.zynq import ports_of

    ports = ports_of(read_package(folder))
    assert ports == {"read_ports": 0b0001, "write_ports": 0b0100}
    with opened(folder, ports=ports | wrong) as accelerator:
        pixels, sums, _ = expected[accelerator.package.models[0]]
        assert (accelerator.segment(pixels[0]).sums == sums[0]).all()
        assert (accelerator.backend.state()["violations"] > 0) == broken


@pytest.mark.parametrize("ordered", [True, False])
def test_only_loads_that_wait_for_the_answer_at_the_other_port_read_what_was_written(folder, expected, ordered):
    """Answers are slow.  The same program whose LOADs wait for no STORE gets words from before."""
    place = LOAD.offsets["wait_stores"]
    with opened(folder, write_latency=(400, 500)) as accelerator:
        board, model = accelerator.backend, accelerator.load()
        pixels, sums, _ = expected[model.name]
        address = accelerator._loaded[model.name].buffer.address + model.program.address
        words = board.copy_out(address, model.program.size).view("<u8").reshape(-1, 4).copy()
        waits = ((words[:, 0] & 15) == Opcode.LOAD) & ((words[:, place // 64] >> place % 64 & 0xFFFF) != 0)
        assert waits.any()
        if not ordered:
            words[waits, place // 64] &= ~np.uint64(0xFFFF << place % 64)
            board.copy_in(address, words.reshape(-1).view(np.uint8))
        assert (accelerator.segment(pixels[0]).sums == sums[0]).all() == ordered
        assert board.state()["violations"] == 0


@pytest.mark.slow
def test_one_port_for_both_directions_gives_the_same_sums_in_the_same_cycles(folder, expected, tmp_path):
    from hwseg.boards import load_board
    from hwseg.boards.zynq7020.top import zynq_verilog

    board = load_board("pynq-z2")
    one = replace(board, ps=replace(board.ps, read_ports=("HP1",), write_ports=("HP1",)))
    copy = shutil.copytree(folder, tmp_path / "one")
    (copy / "hardware" / "hwseg_zynq.v").write_text(zynq_verilog((copy / "hardware" / "top.v").read_text(), one))
    with (
        opened(folder) as two,
        opened(copy, ports={"read_ports": 0b0010, "write_ports": 0b0010}) as accelerator,
    ):
        pixels, sums, _ = expected[accelerator.package.models[0]]
        for number in range(len(pixels)):
            result = accelerator.segment(pixels[number])
            assert (result.sums == sums[number]).all()
            assert result.cycles == two.segment(pixels[number]).cycles
        assert accelerator.backend.state()["violations"] == 0


def test_an_error_of_the_memory_is_told_and_the_next_run_works(folder, expected):
    with opened(folder) as accelerator:
        board, model = accelerator.backend, accelerator.load()
        base = accelerator._loaded[model.name].buffer.address
        pixels, sums, _ = expected[model.name]
        for address in (model.input_address, model.head_address, model.program.address, model.weights.address):
            board.fault(base + address)
            what = "write" if address == model.head_address else "read"
            with pytest.raises(HwsegError, match=rf"ended early at address 0x\w+: the memory answered a {what} with"):
                accelerator.segment(pixels[0])
            board.fault()
            assert (accelerator.segment(pixels[0]).sums == sums[0]).all()
        assert board.state()["violations"] == 0


def test_a_reset_in_the_middle_of_a_run_lets_bursts_finish_and_the_next_run_works(folder, expected):
    """The processing system's ports are not reset: a beat that nobody waits for would spoil what follows."""
    with opened(folder, latency=(5, 120), stalls=True) as accelerator:
        board, model = accelerator.backend, accelerator.load()
        pixels, sums, _ = expected[model.name]
        whole = accelerator.segment(pixels[0]).cycles
        places = np.random.default_rng(3).integers(1, whole, 12)
        for place in (1, 5, 20, 60, *places):
            accelerator.start(pixels[1])
            assert not board.wait(place / (board.clock_mhz * 1e6))
            assert board.reset(400) == accelerator.package.identity
            assert "busy" not in accelerator.status()
            accelerator.reset()
            assert (accelerator.segment(pixels[0]).sums == sums[0]).all()
        assert board.state()["violations"] == 0


def test_no_burst_leaves_the_granted_window(folder, expected):
    """The limit is moved down; what lies behind it stays as it was, and the run ends with cause and address."""
    with opened(folder) as accelerator:
        board, model = accelerator.backend, accelerator.load()
        buffer = accelerator._loaded[model.name].buffer
        pixels, sums, _ = expected[model.name]
        assert (accelerator.segment(pixels[1]).sums == sums[1]).all()
        before = board.copy_out(buffer.address, model.total_bytes // 8 * 8)
        run = accelerator.start(pixels[0])
        run.stop()
        with pytest.raises(HwsegError, match=r"ended early at address 0x\w+: stopped by the driver"):
            run.wait()
        end = buffer.address + model.head_address // 128 * 128
        accelerator._engine.write_once("limit", end)
        accelerator._engine.write_once = lambda name, value: None
        with pytest.raises(
            HwsegError, match=r"ended early at address 0x(\w+): an address outside the granted window"
        ) as e:
            accelerator.segment(pixels[0])
        del accelerator._engine.write_once
        assert int(str(e.value).split("address 0x")[1][:8], 16) >= end
        after = board.copy_out(buffer.address, model.total_bytes // 8 * 8)
        assert (after[model.head_address // 128 * 128 :] == before[model.head_address // 128 * 128 :]).all()
        accelerator._engine.forget()
        assert (accelerator.segment(pixels[0]).sums == sums[0]).all()
        assert board.state()["violations"] == 0


def test_a_register_that_does_not_exist_is_an_error(folder):
    with opened(folder) as accelerator, pytest.raises(HwsegError, match="register at 0x400: answered DECERR"):
        accelerator.backend.read(0x400)


def test_a_steady_frame_takes_few_cycles_on_the_register_port(folder, expected):
    """Accesses do not grow with the picture: what they take here is what they take for 256x256 pixels."""
    with opened(folder) as accelerator:
        pixels, _, _ = expected[accelerator.package.models[0]]
        accelerator.segment(pixels[0])
        before = accelerator.backend.state()
        cycles = accelerator.segment(pixels[1]).cycles
        after = accelerator.backend.state()
    assert after["accesses"] - before["accesses"] <= 9
    assert after["access_cycles"] - before["access_cycles"] < 80
    assert cycles > 1000


def test_the_notebook_runs_in_simulation(folder, expected, capsys):
    notebook = json.loads((folder / "notebooks" / "segment.ipynb").read_text())
    cells = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert 'PACKAGE = ".."' in cells[0]
    assert 'BACKEND = "board"' in cells[0]
    cells[0] = cells[0].replace('".."', repr(str(folder))).replace('"board"', '"simulation"')
    names: dict[str, object] = {}
    for cell in cells:
        exec(compile(cell, "notebook", "exec"), names)
    result = names["result"]
    assert result.mask.shape == result.model.input.shape[:2]
    assert f"{result.cycles} cycles" in capsys.readouterr().out


def test_the_model_of_the_processing_system_has_the_primitives_ports():
    """Names, directions and widths as in the library that synthesis takes PS7 from."""
    import re

    pyosys = pytest.importorskip("pyosys")
    library = (Path(pyosys.__file__).parent / "share" / "xilinx" / "cells_xtra.v").read_text()
    cell = re.search(r"^module PS7\(.*?^endmodule", library, re.S | re.M)
    assert cell is not None
    real = {n: (d, int(h or 0) + 1) for d, h, n in re.findall(r"(input|output|inout) (?:\[(\d+):0\] )?(\w+);", cell[0])}
    header = re.search(r"^module PS7 \((.*?)\);", (SIM / "ps7.v").read_text(), re.S | re.M)
    assert header is not None
    ports = re.findall(r"(input|output) +(?:\[ ?(\d+):0\] )?(\w+)", header[1])
    assert len(ports) > 200
    for direction, high, name in ports:
        assert real[name] == (direction, int(high or 0) + 1), name


def test_a_simulation_that_cannot_start_says_why(folder, monkeypatch):
    from hwseg.sim import zynq

    monkeypatch.setattr(zynq, "START_SECONDS", 3)
    real = zynq.subprocess.Popen
    monkeypatch.setattr(
        zynq.subprocess, "Popen", lambda command, **named: real(["sh", "-c", "echo no such module"], **named)
    )
    with pytest.raises(HwsegError, match=r"simulation of .*: broke off: no such module; run hwseg doctor"):
        Accelerator.open(folder, "simulation")


@pytest.mark.slow
@pytest.mark.parametrize("array", ["8x8x8"])
def test_the_demo_network_gives_the_golden_mask(array, tmp_path):
    """The shipped network on 128x128 pixels, whole."""
    from hwseg import golden, models
    from hwseg.boards import load_board
    from hwseg.boards.zynq7020.package import package
    from hwseg.builds.build import compile_model
    from hwseg.pictures.raster import raster
    from hwseg.pictures.source import integers

    build = compile_model(models.path("nuclei-mixed"), array=array, out=tmp_path / "build")
    package([build.path], load_board("pynq-z2"), tmp_path / "package")
    graph = build.program.graph
    kind = graph.types[graph.input]
    y, x = np.mgrid[: kind.shape[0], : kind.shape[1]]
    light = 30 + 150 * (((y - 40) ** 2 + (x - 50) ** 2 < 400) | ((y - 90) ** 2 + (x - 80) ** 2 < 200))
    noise = np.random.default_rng(1).normal(0, 8, light.shape)
    pixels = np.clip(light + noise, 0, 255).astype(np.uint8)[..., None]
    q = integers(raster(pixels), graph)
    sums = golden.run(graph, q).tensors[graph.head.tensor]
    with Accelerator.open(tmp_path / "package", "simulation") as accelerator:
        result = accelerator.segment(pixels)
        accelerator.skip = False
        dense = accelerator.segment(pixels)
        state = accelerator.backend.state()
    assert (result.sums == sums).all()
    assert (dense.sums == sums).all()
    assert result.counters["skipped"] > 0
    assert dense.counters["skipped"] == 0
    assert result.cycles < dense.cycles == dense.model.cycles
    assert (result.mask == golden.mask(graph.head, sums)).all()
    assert 0.01 < result.mask.mean() < 0.5
    assert state["violations"] == 0
    print(f"{array}: {dense.cycles} cycles, predicted {result.model.cycles}; {result.cycles} with skipping")


@pytest.mark.slow
def test_the_drivers_accesses_are_under_5_percent_of_a_frame_of_256x256_pixels(tmp_path):
    from hwseg.boards import load_board
    from hwseg.boards.zynq7020.package import package
    from hwseg.builds.build import compile_model
    from tests.quant.models import random_unet

    model = random_unet(3, tmp_path, height=256, width=256, depth=1, widths=(4, 8), classes=1)
    build = compile_model(model, array="8x8x8", out=tmp_path / "build")
    package([build.path], load_board("pynq-z2"), tmp_path / "package")
    shape = build.program.graph.types[build.program.graph.input].shape
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    with Accelerator.open(tmp_path / "package", "simulation") as accelerator:
        accelerator.segment(pixels)
        before = accelerator.backend.state()
        cycles = accelerator.segment(pixels).cycles
        after = accelerator.backend.state()
    share = (after["access_cycles"] - before["access_cycles"]) / cycles
    print(f"{after['accesses'] - before['accesses']} accesses, {share:.2%} of {cycles} cycles")
    assert share < 0.05


@pytest.mark.slow
def test_10_000_runs_in_a_row_lose_nothing(tmp_path):
    """On one opened accelerator, memory slow and stalling; every head compared, every counter read."""
    from hwseg.boards import load_board
    from hwseg.boards.zynq7020.package import package
    from hwseg.builds.build import compile_model
    from tests.quant.models import random_unet

    choices = {"height": 4, "width": 4, "channels": 1, "depth": 1, "widths": (1, 1), "classes": 1, "residual": False}
    model = random_unet(2, tmp_path, upsampling="nearest", head="raw", final="none", **choices)
    build = compile_model(model, array="8x1x1", out=tmp_path / "build")
    package([build.path], load_board("pynq-z2"), tmp_path / "package")
    pixels = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 1), np.uint8)
    with opened(tmp_path / "package") as quiet:
        wanted = [quiet.segment(p) for p in pixels]
    with opened(tmp_path / "package", latency=(2, 60), stalls=True) as accelerator:
        for number in range(10_000):
            result, expected = accelerator.segment(pixels[number % 16]), wanted[number % 16]
            assert (result.sums == expected.sums).all(), number
            assert result.counters == expected.counters, number
        state = accelerator.backend.state()
    assert state["violations"] == 0
    assert state["accesses"] > 80_000
