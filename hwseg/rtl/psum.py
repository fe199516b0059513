"""Partial sums: one memory for four rows of the array, each row at its own cycle.

Row r of the array runs r cycles behind row 0, and a step takes at least four cycles, so the four rows of a bank never
meet.  Per row and step:

    cycle -1  read address      0  core sums, memory read      1  output register, sum selected      2  addition
           3  write back, or out to the requantizers

What is not wanted stands still: between steps nothing is selected, and only what leaves reaches `out`, behind which
the requantizers would multiply it.  Row 0's core is on its way to the next sum meanwhile.

Latency: `PartialSums.latency` cycles from the core sums to `out`.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.config import PSUM_BITS, ROWS_PER_PSUM, EngineConfig
from hwseg.rtl.cores.pipeline import delayed
from hwseg.rtl.layouts import TOKEN
from hwseg.rtl.resets import later, leaves

PIXELS_PER_LEAF = 4
"""Pixels whose sums share the register that lets them out."""


class PartialSums(Component):
    """Accumulation across input tiles: out = sum + (first ? 0 : shift ? psum * 256 : psum).

    `early[r]`: the step's token one cycle before `sums[r]` is valid.  `out` holds the accumulators of one row with its
    token while `out_token.valid`, for last tiles only, and stays as it is else; `out_row` is the row within the bank.
    `next_*` say a cycle before whether there will be one, its row and its parameters' slot.
    """

    latency = 3

    def __init__(self, config: EngineConfig, sum_bits: int) -> None:
        self.config, self.sum_bits = config, sum_bits
        super().__init__(
            {
                "early": In(data.ArrayLayout(TOKEN, ROWS_PER_PSUM)),
                "sums": In(data.ArrayLayout(data.ArrayLayout(signed(sum_bits), config.pixels), ROWS_PER_PSUM)),
                "out": Out(data.ArrayLayout(signed(PSUM_BITS), config.pixels)),
                "out_token": Out(TOKEN),
                "out_row": Out(2),
                "next_valid": Out(1),
                "next_row": Out(2),
                "next_slot": Out(8),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config = self.config
        width = config.pixels * PSUM_BITS
        m.submodules.memory = memory = BlockRam(width, ROWS_PER_PSUM * config.psum_steps)

        token, row = Signal(TOKEN), Signal(2)
        valids = Cat(*(self.early[r].valid for r in range(ROWS_PER_PSUM)))
        # The four rows' tokens are one step's, a cycle apart, and steps are four cycles apart.
        held = Signal(TOKEN, reset_less=True)
        with m.If(self.early[0].valid):
            m.d.sync += held.eq(self.early[0])
        m.d.comb += [
            token.eq(Mux(self.early[0].valid, self.early[0].as_value(), held.as_value())),
            token.valid.eq(valids.any()),
            row.eq(Cat(valids[1] | valids[3], valids[2] | valids[3])),
            memory.read_address.eq(
                token.psum[: (config.psum_steps - 1).bit_length()] | (row << (config.psum_steps - 1).bit_length())
            ),
            memory.read_enable.eq(token.valid & ~token.first),
        ]
        # The token and its row, one register per cycle from here on: tokens[k] belongs to cycle k of the table above.
        tokens: list[Any] = [token]
        rows: list[Value] = [row]
        for stage in range(4):
            tokens.append(later(m, tokens[-1], f"token_{stage}"))
            rows.append(delayed(m, rows[-1], 1, f"row_{stage}"))
        at = {cycle: (tokens[cycle + 1], rows[cycle + 1]) for cycle in range(4)}

        selected = Signal(data.ArrayLayout(signed(self.sum_bits), config.pixels), reset_less=True)
        with m.If(at[0][0].valid), m.Switch(at[0][1]):
            for r in range(ROWS_PER_PSUM):
                with m.Case(r):
                    m.d.sync += selected.eq(self.sums[r])
        stored = data.View(data.ArrayLayout(signed(PSUM_BITS), config.pixels), memory.read_data)
        total = Signal(data.ArrayLayout(signed(PSUM_BITS), config.pixels), reset_less=True)
        # Of cycle 1, in a register for each pixel.
        controls = leaves(m, Cat(at[0][0].first, at[0][0].shift), config.pixels, "control")
        for pixel, (first, shift) in enumerate(controls):
            before = Mux(first, 0, Mux(shift, stored[pixel] << 8, stored[pixel]))
            m.d.sync += total[pixel].eq(selected[pixel] + before)

        done, done_row = at[2]
        m.d.comb += [
            memory.write_address.eq(
                done.psum[: (config.psum_steps - 1).bit_length()] | (done_row << (config.psum_steps - 1).bit_length())
            ),
            memory.write_data.eq(total),
            memory.write_enable.eq(done.valid & ~done.last),
        ]
        leaving = Signal(TOKEN)
        m.d.comb += [leaving.eq(done), leaving.valid.eq(done.valid & done.last)]
        m.d.comb += [self.next_valid.eq(leaving.valid), self.next_row.eq(done_row), self.next_slot.eq(done.slot)]
        out: Any = Signal(total.shape(), name="out_total", reset_less=True)
        # Of cycle 2, in a register for every few pixels.
        leave = leaves(m, at[1][0].valid & at[1][0].last, -(-config.pixels // PIXELS_PER_LEAF), "leave")
        for pixel in range(config.pixels):
            with m.If(leave[pixel // PIXELS_PER_LEAF]):
                m.d.sync += out[pixel].eq(total[pixel])
        m.d.comb += [
            self.out.eq(out),
            self.out_token.eq(later(m, leaving, "token_out")),
            self.out_row.eq(delayed(m, done_row, 1, "row_out")),
        ]
        return m
