"""The cocotb side of a simulation: writes registers as a driver would, starts the engine, waits for the interrupt.

Runs inside the simulator; what to do stands in the JSON file that HWSEG_RUN names, the results go beside it.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotbext.axi import AxiLiteBus, AxiLiteMaster

from hwseg.interrupts import end_with_parent
from hwseg.rtl.registers import IDENTITY, OFFSETS

PERIOD = 2
REPORT_EVERY = 20_000
"""Clock cycles between two looks at the progress."""


@cocotb.test()
async def run(dut: Any) -> None:
    end_with_parent()
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    job = json.loads(Path(os.environ["HWSEG_RUN"]).read_text())
    results = await driven(dut, start_bench(dut), job)
    Path(job["results"]).write_text(json.dumps(results))


def start_bench(dut: Any) -> AxiLiteMaster:
    """The clock runs; what drives the registers."""
    cocotb.start_soon(Clock(dut.clk, PERIOD, "ns").start())
    dut.rst.value, dut.load.value, dut.finish.value = 1, 0, 0
    return AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)


async def driven(dut: Any, master: AxiLiteMaster, job: dict[str, Any]) -> dict[str, Any]:
    """One run from reset: the memory is loaded before it and dumped after it."""
    dut.rst.value, dut.finish.value = 1, 0
    await ClockCycles(dut.clk, 4)
    dut.load.value = 1
    await ClockCycles(dut.clk, 4)
    dut.load.value, dut.rst.value = 0, 0
    await ClockCycles(dut.clk, 4)

    async def read(name: str) -> int:
        return int(await master.read_dword(OFFSETS[name]))

    async def write(name: str, value: int) -> None:
        await master.write_dword(OFFSETS[name], value)

    identity = await read("identity")
    assert identity == IDENTITY, f"identity register reads {identity:#x}"
    await write("base", job["base"])
    await write("limit", job["limit_address"])
    await write("program", job["program"])
    await write("program_words", job["program_words"])
    await write("interrupt_enable", 1)
    await write("skip", job["skip"])
    await write("control", 1)

    progress = Path(job["progress"])
    waited = 0
    finished = False
    while waited < job["limit"] and not finished:
        await First(RisingEdge(dut.interrupt), Timer(PERIOD * REPORT_EVERY, "ns"))
        finished = bool(dut.interrupt.value)
        waited += REPORT_EVERY
        progress.write_text(f"{int(dut.total.value)} {int(dut.layer.value)}\n")

    status = await read("status")
    results = {
        "finished": finished,
        "status": status,
        "fault": int(dut.fault.value),
        "cycles": await read("cycles") | await read("cycles_high") << 32,
        "read_beats": await read("read_beats"),
        "write_beats": await read("write_beats"),
        "walking": await read("walking"),
        "skipped": await read("skipped"),
        "startup": int(dut.startup.value),
        "layers": [int(dut.layer_cycles[number].value) for number in range(job["layers"])],
        "feed_toggles": [int(dut.feed_toggles[number].value) for number in range(job["layers"])],
    }
    await write("interrupt", 1)
    dut.finish.value = 1
    await ClockCycles(dut.clk, 2)
    return results
