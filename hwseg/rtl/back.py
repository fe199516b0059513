"""What follows the array: tokens beside it, and for each set of 8 output channels what becomes of its rows' sums.

    token -> registers beside the array -> row 0 -> row 1 ...           a row is a cycle later than the one before
                                            |
    sums of rows 0..3, 4..7 -> two partial-sum stores -> requantizers -> output set -> words for STORE and MOVE

The two stores of a set take turns: their rows are four cycles apart, and only one of them lets a row out in a cycle.
A 1x1 head's sum goes from set to set.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.bank_writes import LOOP_READ
from hwseg.rtl.blocks import BLOCK
from hwseg.rtl.config import ROWS_PER_PSUM, ROWS_PER_SET, EngineConfig
from hwseg.rtl.emit import Library, Part
from hwseg.rtl.layouts import BACK_LAYOUT, TOKEN
from hwseg.rtl.output import OutputSet
from hwseg.rtl.psum import PartialSums
from hwseg.rtl.requantize import PARAMETER_WRITE, Requantizers
from hwseg.rtl.resets import leaves, reset_apart
from hwseg.rtl.writer import OUTPUT_READ


class Back(Part):
    """`token` goes with a step's last plane; `sums[r]` of the step come `delay` + 1 + r cycles later.

    `back`: the two configurations that tokens name.  `parameter_write`: of set `parameter_set`.  `addends[set]`: of a
    residual addition, in the cycle behind `take[set]`.  `output_read`, `loop_read`: what STORE and MOVE ask for; the
    words follow three cycles later (`LOOP_DELAY`).  `tap_*`: see `hwseg.rtl.engine.Engine`.  `restart` resets all.
    """

    def __init__(self, config: EngineConfig, library: Library, *, sum_bits: int, delay: int) -> None:
        self.config, self.library, self.sum_bits, self.delay = config, library, sum_bits, delay
        sums = data.ArrayLayout(signed(sum_bits), config.pixels)
        super().__init__(
            {
                "restart": In(1),
                "token": In(TOKEN),
                "sums": In(data.ArrayLayout(sums, config.rows)),
                "back": In(data.ArrayLayout(BACK_LAYOUT, 2)),
                "parameter_write": In(PARAMETER_WRITE),
                "parameter_set": In(3),
                "take": Out(config.sets),
                "addends": In(data.ArrayLayout(data.ArrayLayout(8, config.pixels), config.sets)),
                "output_read": In(OUTPUT_READ),
                "output_data": Out(64),
                "loop_read": In(LOOP_READ),
                "loop_data": Out(data.ArrayLayout(64, 2)),
                "tap_valid": Out(config.sets),
                "tap_layer": Out(8 * config.sets),
                "tap_data": Out(BLOCK.size * config.sets),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        early = self._tokens(m)
        outputs: list[OutputSet] = []
        for number in range(self.config.sets):
            banks = self._partial_sums(m, number, early)
            requantizers = self._requantizers(m, number, *banks)
            outputs.append(self._output(m, number, requantizers, outputs[-1] if outputs else None))
        self._read_stored(m, outputs)
        self._read_loop(m, outputs)
        return m

    def _add(self, m: Module, name: str, part: Component, module: str) -> None:
        """`part` as submodule `name`, an instance of `module`, reset at every start."""
        reset_apart(m, self.library, name, self.library.instance(part, module), self.restart)

    def _tokens(self, m: Module) -> list[Any]:
        """The token as each row has it, a cycle before the row's sums."""
        token: Any = self.token
        for stage in range(self.delay):
            later = Signal(TOKEN, name=f"token_{stage}", reset_less=True)
            m.d.sync += later.eq(token)
            token = later
        early = [token]
        for row in range(1, self.config.rows):
            later = Signal(TOKEN, name=f"token_row_{row}", reset_less=True)
            m.d.sync += later.eq(early[-1])
            early.append(later)
        return early

    def _partial_sums(self, m: Module, number: int, early: list[Any]) -> list[PartialSums]:
        """The stores of a set's lower and upper rows."""
        banks = []
        for bank in range(ROWS_PER_SET // ROWS_PER_PSUM):
            part = PartialSums(self.config, self.sum_bits)
            self._add(m, f"psum_{number}_{bank}", part, "hwseg_psum")
            for r in range(ROWS_PER_PSUM):
                row = number * ROWS_PER_SET + bank * ROWS_PER_PSUM + r
                m.d.comb += [part.early[r].eq(early[row]), part.sums[r].eq(self.sums[row])]
            banks.append(part)
        return banks

    def _requantizers(self, m: Module, number: int, low: PartialSums, high: PartialSums) -> Requantizers:
        """A set's requantizers take what either store lets out."""
        requantizers = Requantizers(self.config)
        self._add(m, f"requantizers_{number}", requantizers, "hwseg_requantizers")
        upper_next = high.next_valid
        # A register for each pixel's choice, and one for the token's.
        upper, *uppers = leaves(m, upper_next, 1 + self.config.pixels, f"upper_{number}")
        slot = Mux(upper_next, high.next_slot, low.next_slot)
        m.d.comb += [
            requantizers.parameters_wanted.eq(upper_next | low.next_valid),
            requantizers.parameters_at.eq(Cat(Mux(upper_next, high.next_row, low.next_row), upper_next, slot)),
            *(requantizers.acc[pixel].eq(Mux(u, high.out[pixel], low.out[pixel])) for pixel, u in enumerate(uppers)),
            requantizers.token.eq(Mux(upper, high.out_token.as_value(), low.out_token.as_value())),
            requantizers.row.eq(Cat(Mux(upper, high.out_row, low.out_row), upper)),
            requantizers.back.eq(self.back),
            requantizers.write.eq(self.parameter_write),
            requantizers.write.enable.eq(self.parameter_write.enable & (self.parameter_set == number)),
            requantizers.addend.eq(self.addends[number]),
            self.take[number].eq(requantizers.take),
        ]
        return requantizers

    def _output(self, m: Module, number: int, requantizers: Requantizers, before: OutputSet | None) -> OutputSet:
        """A set's output path; of a 1x1 head it goes on with the sums of the set `before`."""
        output = OutputSet(self.config)
        self._add(m, f"output_{number}", output, "hwseg_output")
        m.d.comb += [
            output.back.eq(self.back),
            output.y.eq(requantizers.y),
            output.raw.eq(requantizers.raw),
            output.row.eq(requantizers.out_row),
            output.dot.eq(requantizers.out_dot),
            output.dot_in.eq(before.dot_out if before else 0),
            output.dot_last.eq(number == self.config.sets - 1),
            output.left.eq(number >= self.config.sets // 2),
            output.token.eq(requantizers.out_token),
            output.read_enable.eq(self.output_read.enable),
            output.read_address.eq(self.output_read.address),
            output.read_parity.eq(self.output_read.parity),
            output.read_pool.eq(self.output_read.pool),
            output.loop_enable.eq(self.loop_read.enable),
            output.loop_address.eq(self.loop_read.address),
            self.tap_layer[8 * number : 8 * (number + 1)].eq(output.tap_layer),
            self.tap_valid[number].eq(output.tap_valid),
            self.tap_data[BLOCK.size * number : BLOCK.size * (number + 1)].eq(output.tap),
        ]
        return output

    @property
    def _half(self) -> int:
        """Of a split layer the even word columns lie so many sets further on."""
        return self.config.sets // 2

    def _chosen(self, m: Module, index: data.View, further: Any, name: str) -> Signal:
        """The set that is read, when its words are there."""
        early, late = Signal(3, name=f"{name}_set"), Signal(3, name=f"{name}_set_late")
        m.d.sync += [early.eq(index + Mux(further, self._half, 0)), late.eq(early)]
        return late

    def _read_stored(self, m: Module, outputs: list[OutputSet]) -> None:
        """STORE's words; of a split layer each set has one half of a pooled word's pixels."""
        store = self.output_read
        even, both, both_late = Signal(), Signal(), Signal()
        m.d.comb += even.eq(store.split & ~store.parity & ~store.pool)
        m.d.sync += [both.eq(store.split & store.pool), both_late.eq(both)]
        stored = Signal(64, name="stored", reset_less=True)
        m.d.comb += self.output_data.eq(stored)
        with m.Switch(self._chosen(m, store.set, even, "read")):
            for number, output in enumerate(outputs):
                with m.Case(number):
                    other = outputs[(number + self._half) % len(outputs)].read_data if self._half else 0
                    m.d.sync += stored.eq(output.read_data | Mux(both_late, other, 0))

    def _read_loop(self, m: Module, outputs: list[OutputSet]) -> None:
        """MOVE's words, even and odd word column."""
        move = self.loop_read
        for parity in range(2):
            further = move.split & (1 - parity)
            moved = Signal(64, name=f"moved_{parity}", reset_less=True)
            m.d.comb += self.loop_data[parity].eq(moved)
            with m.Switch(self._chosen(m, move.set, further, f"loop_{parity}")):
                for number, output in enumerate(outputs):
                    with m.Case(number):
                        m.d.sync += moved.eq(output.loop_data[parity])
