"""The cocotb side of a simulated board: does what `hwseg.sim.zynq` asks for, one request after the other.

Runs inside the simulator.  Time stands still between requests; registers are reached through cocotbext-axi's manager at
the general-purpose port, as the processor would reach them.
"""

from __future__ import annotations

import json
import logging
import os
from multiprocessing.connection import Client, Connection
from pathlib import Path
from typing import Any

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, SimTimeoutError, Timer, with_timeout
from cocotbext.axi import AxiBus, AxiMaster

from hwseg.interrupts import end_with_parent

PERIOD = 2
BEATS = 16
"""Longest burst of AXI3."""


class Board:
    """Requests by name; each takes and gives what JSON holds."""

    def __init__(self, ps: Any, job: dict[str, Any]) -> None:
        self.ps, self.registers, self.exchange = ps, job["registers"], Path(job["exchange"])
        self.patience, self.silent = job["patience"], job["silent"]
        self.accesses = 0
        self.access_cycles = 0
        self.master: Any = None

    async def begin(self) -> None:
        """Clock, reset, and the port's manager."""
        ps = self.ps
        ps.load.value, ps.dump.value, ps.rst.value = 0, 0, 1
        cocotb.start_soon(Clock(ps.clk, PERIOD, "ns").start())
        self.master = AxiMaster(AxiBus.from_prefix(ps, "gp0"), ps.clk, ps.rst, max_burst_len=BEATS)
        await ClockCycles(ps.clk, 8)
        ps.rst.value = 0
        await ClockCycles(ps.clk, 8)

    async def _access(self, transfer: Any) -> Any:
        """What a transfer at the general-purpose port gave; None if it did not end."""
        before = int(self.ps.cycles.value)
        try:
            done = await with_timeout(transfer, PERIOD * self.patience, "ns")
        except SimTimeoutError:
            done = None
        self.accesses += 1
        self.access_cycles += int(self.ps.cycles.value) - before
        return done

    async def read(self, offset: int) -> dict[str, int]:
        done = await self._access(self.master.read(self.registers + offset, 4))
        if done is None:
            return {"value": 0, "response": self.silent}
        return {"value": int.from_bytes(done.data, "little"), "response": int(done.resp)}

    async def write(self, offset: int, value: int) -> dict[str, int]:
        done = await self._access(self.master.write(self.registers + offset, value.to_bytes(4, "little")))
        return {"response": self.silent if done is None else int(done.resp)}

    async def load(self, first: int, count: int) -> None:
        """Words of the exchange file into memory."""
        await self._copy(self.ps.load, first, count)

    async def dump(self, first: int, count: int) -> None:
        """Words of memory into the exchange file, in hexadecimal."""
        await self._copy(self.ps.dump, first, count)

    async def _copy(self, strobe: Any, first: int, count: int) -> None:
        self.ps.first.value, self.ps.count.value = first, count
        await ClockCycles(self.ps.clk, 1)
        strobe.value = 1
        await ClockCycles(self.ps.clk, 2)
        strobe.value = 0
        await ClockCycles(self.ps.clk, 1)

    async def wait(self, cycles: int) -> bool:
        """Whether the interrupt came within so many cycles."""
        if not int(self.ps.interrupt.value):
            await First(RisingEdge(self.ps.interrupt), Timer(PERIOD * max(1, cycles), "ns"))
        return bool(int(self.ps.interrupt.value))

    async def fault(self, address: int) -> None:
        """From now on the word at `address` answers SLVERR; 0xFFFFFFFF: none does."""
        self.ps.bad_address.value = address
        await ClockCycles(self.ps.clk, 1)

    async def reset(self, cycles: int) -> dict[str, int]:
        """Pull the fabric's reset for so many cycles; the processing system itself goes on.

        In the middle of it a read of register 0 begins; its answer.
        """
        self.ps.fabric_reset.value = 1
        await ClockCycles(self.ps.clk, cycles // 2)
        reading = cocotb.start_soon(self.read(0))
        await ClockCycles(self.ps.clk, cycles - cycles // 2)
        self.ps.fabric_reset.value = 0
        answer: dict[str, int] = await reading
        return answer

    async def state(self) -> dict[str, int]:
        """Counts since the beginning."""
        return {
            "cycles": int(self.ps.cycles.value),
            "violations": int(self.ps.violations.value),
            "accesses": self.accesses,
            "access_cycles": self.access_cycles,
        }


@cocotb.test()
async def serve(dut: Any) -> None:
    end_with_parent()
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    job = json.loads(Path(os.environ["HWSEG_BOARD"]).read_text())
    board = Board(dut.ps7, job)
    await board.begin()
    connection: Connection
    with Client(job["socket"], "AF_UNIX") as connection:
        connection.send_bytes(b"{}")
        while True:
            try:
                request = json.loads(connection.recv_bytes())
            except EOFError:
                return
            if request["name"] == "quit":
                return
            answer = await getattr(board, request["name"])(*request["arguments"])
            connection.send_bytes(json.dumps({"number": request["number"], "answer": answer}).encode())
