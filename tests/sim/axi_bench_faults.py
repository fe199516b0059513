"""The cocotb side of the fault campaign: cocotbext-axi's memory on the manager port, pauses, error responses."""

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, First, RisingEdge, Timer
from cocotbext.axi import AxiBus, AxiLiteBus, AxiLiteMaster, AxiSlave, MemoryRegion

from hwseg.rtl.registers import OFFSETS, STATUS_BUSY, STATUS_DONE, STATUS_ERROR, STATUS_OVERRUN


class Faulty(MemoryRegion):
    """Memory that answers SLVERR for one read or one written word."""

    bad_read = bad_write = None

    async def _read(self, address, length, **kwargs):
        if self.bad_read is not None and address <= self.bad_read < address + length:
            raise ValueError("bad word")
        return await super()._read(address, length, **kwargs)

    async def _write(self, address, data, **kwargs):
        if self.bad_write is not None and address <= self.bad_write < address + len(data):
            raise ValueError("bad word")
        await super()._write(address, data, **kwargs)


def pauses(seed, share):
    noise = random.Random(seed)
    while True:
        yield noise.random() < share


async def watch_rules(dut, prefix, violations, window):
    """AXI3 bursts: at most 16 beats, none across 4 KB or out of the granted window, still while they wait."""
    valid, ready = getattr(dut, f"m_axi_{prefix}valid"), getattr(dut, f"m_axi_{prefix}ready")
    address, length = getattr(dut, f"m_axi_{prefix}addr"), getattr(dut, f"m_axi_{prefix}len")
    waiting = None
    while True:
        await RisingEdge(dut.clk)
        if not int(valid.value):
            if waiting is not None:
                violations.append(f"{prefix}valid fell before it was taken")
            waiting = None
            continue
        now = int(address.value), int(length.value)
        if waiting not in (None, now):
            violations.append(f"{prefix} changed from {waiting} to {now} while it waited")
        if now[1] > 15 or now[0] % 4096 + 8 * (now[1] + 1) > 4096:
            violations.append(f"{prefix} burst {now} is too long or crosses 4 KB")
        if now[0] < window[0] or now[0] + 8 * (now[1] + 1) > window[1]:
            violations.append(f"{prefix} burst {now} leaves the window {window}")
        waiting = None if int(ready.value) else now


@cocotb.test()
async def campaign(dut):
    job = json.loads(Path(os.environ["HWSEG_FAULTS"]).read_text())
    image = Path(job["image"]).read_bytes()
    base = job["base"]
    cocotb.start_soon(Clock(dut.clk, 2, "ns").start())
    dut.rst.value, dut.decode_errors.value = 1, 0
    memory = Faulty(1 << 32)
    slave = AxiSlave(AxiBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, target=memory)
    master = AxiLiteMaster(AxiLiteBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst)
    violations, window = [], [base, base]
    for prefix in ("ar", "aw"):
        cocotb.start_soon(watch_rules(dut, prefix, violations, window))
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 5)

    async def read(name):
        return int(await master.read_dword(OFFSETS[name]))

    async def write(name, value):
        await master.write_dword(OFFSETS[name], value)

    for name in ("base", "program", "program_words"):
        await write(name, job[name])
    whole = base + len(image) // 128 * 128
    await write("limit", whole)
    await write("interrupt_enable", 1)

    guards = [(0, bytes(range(128)) * (base // 128)), (whole, bytes(range(128, 256)) * 64)]

    async def run(share, seed, bad_read=None, bad_write=None, again=False, limit=whole, stop=0, decerr=0, image=image):
        dut.decode_errors.value = decerr
        for place, content in ((base, image), *guards):
            await MemoryRegion.write(memory, place, content)
        await write("limit", limit)
        window[1] = limit
        memory.bad_read, memory.bad_write = bad_read, bad_write
        channels = (slave.write_if.aw_channel, slave.write_if.w_channel, slave.write_if.b_channel)
        for i, channel in enumerate((*channels, slave.read_if.ar_channel, slave.read_if.r_channel)):
            channel.set_pause_generator(pauses(seed + i, share) if share else None)
            channel.pause = False
        await write("control", 1)
        status_early = await read("status")
        if again:
            await write("control", 1)
        if stop:
            await ClockCycles(dut.clk, stop)
            await write("control", 2)
        await First(RisingEdge(dut.interrupt), Timer(2 * job["limit"], "ns"))
        status = await read("status")
        await write("interrupt", 1)
        memory.bad_read = memory.bad_write = None
        length = job["head_bytes"]
        head = await MemoryRegion.read(memory, base + job["head"], length)
        return {
            "early": status_early,
            "status": status,
            "cause": await read("error_cause"),
            "address": await read("error_address"),
            "head": bytes(head).hex(),
            "busy": int(dut.busy.value),
            "guarded": [bytes(await MemoryRegion.read(memory, p, len(c))) == c for p, c in guards] == [True, True],
        }

    results = {
        "plain": await run(0, 1),
        "paused": await run(0.4, 2),
        "overrun": await run(0, 3, again=True),
        "bad_read": await run(0.2, 4, bad_read=base + job["input"]),
        "after_bad_read": await run(0.2, 5),
        "bad_program": await run(0, 6, bad_read=base + job["program"]),
        "after_bad_program": await run(0, 7),
        "bad_write": await run(0.2, 8, bad_write=base + job["head"]),
        "after_bad_write": await run(0, 9),
        "outside": await run(0.2, 10, limit=base + job["outside"]),
        "after_outside": await run(0, 11),
        **{
            f"beat_{i}": await run(0.2 * (i % 2), 20 + i, bad_read=base + beat, decerr=i // 2 % 2)
            for i, beat in enumerate(job["beats"])
        },
        "bad_write_decerr": await run(0.2, 30, bad_write=base + job["head"] + 8, decerr=1),
        "stopped": await run(0.4, 12, stop=900),
        "after_stopped": await run(0, 13),
        **{
            name: await run(0.2 * (i % 2), 40 + i, image=Path(path).read_bytes())
            for i, (name, path) in enumerate(job["programs"].items())
        },
        "after_programs": await run(0, 60),
        "violations": violations,
        "bits": [STATUS_BUSY, STATUS_DONE, STATUS_ERROR, STATUS_OVERRUN],
    }
    Path(job["results"]).write_text(json.dumps(results))
