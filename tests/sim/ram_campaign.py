"""The cocotb side: clocks the memories and their netlists, and tells which differed in how many cycles."""

import json
import os
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles

CYCLES = 4000


@cocotb.test()
async def differ(dut):
    cocotb.start_soon(Clock(dut.clk, 2, "ns").start())
    await ClockCycles(dut.clk, CYCLES)
    names = os.environ["HWSEG_RAMS"].split()
    found = {name: int(getattr(dut, f"{name}_errors").value) for name in names}
    Path(os.environ["HWSEG_RESULTS"]).write_text(json.dumps(found | {"cycles": int(dut.cycles.value)}))
