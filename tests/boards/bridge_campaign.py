"""The cocotb side: cocotbext-axi's manager on one side, 256 bytes of registers on the other, pauses on both."""

import json
import os
import random
from pathlib import Path

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles
from cocotbext.axi import AxiBurstType, AxiBus, AxiLiteBus, AxiLiteSlave, AxiMaster, MemoryRegion


class Registers(MemoryRegion):
    """Words that count their accesses; word 15 answers SLVERR."""

    accesses = ()

    async def _read(self, address, length, **kwargs):
        self.accesses += (("read", address),)
        if address == 60:
            raise ValueError("bad register")
        return await super()._read(address, length, **kwargs)

    async def _write(self, address, data, **kwargs):
        self.accesses += (("write", address),)
        if address == 60:
            raise ValueError("bad register")
        await super()._write(address, data, **kwargs)


def pauses(seed, share):
    noise = random.Random(seed)
    while True:
        yield noise.random() < share


@cocotb.test()
async def campaign(dut):
    cocotb.start_soon(Clock(dut.clk, 2, "ns").start())
    dut.rst.value = 1
    master = AxiMaster(AxiBus.from_prefix(dut, "s_axi"), dut.clk, dut.rst, max_burst_len=16)
    registers = Registers(256)
    slave = AxiLiteSlave(AxiLiteBus.from_prefix(dut, "m_axi"), dut.clk, dut.rst, target=registers)
    await ClockCycles(dut.clk, 5)
    dut.rst.value = 0
    await ClockCycles(dut.clk, 5)
    m_read, m_write, s_read, s_write = master.read_if, master.write_if, slave.read_if, slave.write_if
    channels = [m_read.ar_channel, m_read.r_channel, m_write.aw_channel, m_write.w_channel, m_write.b_channel]
    channels += [s_read.ar_channel, s_read.r_channel, s_write.aw_channel, s_write.w_channel, s_write.b_channel]
    results = {"failures": []}

    def require(holds, what):
        if not holds:
            results["failures"].append(what)

    noise = random.Random(1)
    for share in (0, 0.3, 0.8):
        for number, channel in enumerate(channels):
            channel.set_pause_generator(pauses(number, share) if share else None)
            channel.pause = False
        shadow = bytearray(64)
        await master.write(0, bytes(64))
        for _ in range(40):
            words = noise.randrange(1, 15)
            start = 4 * noise.randrange(0, 15 - words)
            data = noise.randbytes(4 * words)
            done = await master.write(start, data, awid=noise.randrange(4096))
            require(int(done.resp) == 0, f"write of {words} words")
            shadow[start : start + 4 * words] = data
            length = noise.randrange(1, 15)
            start = 4 * noise.randrange(0, 15 - length)
            read = await master.read(start, 4 * length, arid=noise.randrange(4096))
            require(read.data == bytes(shadow[start : start + 4 * length]) and int(read.resp) == 0, "read burst")
        # Reads and writes at once, different IDs.
        tasks = [cocotb.start_soon(master.read(4 * i, 4, arid=100 + i)) for i in range(8)]
        writes = [cocotb.start_soon(master.write(32 + 4 * i, bytes([i] * 4), awid=200 + i)) for i in range(4)]
        for i, task in enumerate(tasks):
            require((await task).data == bytes(shadow[4 * i : 4 * i + 4]), "read beside writes")
        for i, task in enumerate(writes):
            await task
            shadow[32 + 4 * i : 36 + 4 * i] = bytes([i] * 4)
        # Narrow reads see the right lanes; wrapping and fixed bursts.
        for size in (0, 1):
            read = await master.read(5 << size, 3 << size, size=size)
            require(read.data == bytes(shadow[5 << size : (5 + 3) << size]), f"read of size {size}")
        read = await master.read(24, 16, burst=AxiBurstType.FIXED)
        require(read.data == bytes(shadow[24:28]) * 4, "fixed read burst")
        await master.write(20, b"aaaabbbbccccdddd", burst=AxiBurstType.FIXED)
        shadow[20:24] = b"dddd"
        # What no register takes is refused and touches none.
        registers.accesses = ()
        done = await master.write(9, b"x")
        require(int(done.resp) == 2, f"write of one byte answers {done.resp}")
        done = await master.write(0x1000, b"word")
        require(int(done.resp) == 3, f"write outside answers {done.resp}")
        read = await master.read(0x400, 4)
        require(int(read.resp) == 3, f"read outside answers {read.resp}")
        require(registers.accesses == (), f"refused accesses reached {registers.accesses}")
        # A register's own error comes back, for the whole burst; its other beats are done.
        done = await master.write(56, b"goodbad!")
        require(int(done.resp) == 2, f"write with an error answers {done.resp}")
        shadow[56:60] = b"good"
        read = await master.read(60, 4)
        require(int(read.resp) == 2, f"read with an error answers {read.resp}")
        read = await master.read(0, 60)
        require(read.data == bytes(shadow[:60]), "contents after errors")
    Path(os.environ["HWSEG_RESULTS"]).write_text(json.dumps(results))
