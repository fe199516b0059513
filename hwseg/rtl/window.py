"""From nine banks to lanes: a 3x3 window of one digit plane every cycle, or one plane of eight channel groups.

    words      bank 3a+b holds buffer rows = a and word columns = b modulo 3, so the nine words around any centre word
               lie in nine different banks and come out in one cycle:

                   row - 1   [left] [centre] [right]        each word: 8 pixels x 8 channels of one plane
                   row       [left] [centre] [right]
                   row + 1   [left] [centre] [right]

    pipeline   0 beat and addresses in   1 memory read   2 output register   3 rotated and masked   4 lanes

A layer of few output channels is *split*: the lower half of the array's rows makes the centre word's pixels and the
upper half the left word's, from the same nine words.  Only the pixel column left of the left word is missing; it is the
centre word's last one of the step before, of which one plane after the other is kept.

Latency: `Window.latency` cycles from a beat to its lanes.  One beat per cycle.
"""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Array, Cat, Module, Mux, Signal, Value
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.block_ram import BlockRam
from hwseg.rtl.config import BANKS, TAPS, EngineConfig
from hwseg.rtl.cores.pipeline import delayed, unreset
from hwseg.rtl.layouts import BEAT, PLANE
from hwseg.rtl.resets import beat_later, leaves
from hwseg.rtl.residual import COPIES

ADDRESS_BITS = 14

BANK_WRITE = data.StructLayout(
    {"enable": BANKS, "address": data.ArrayLayout(ADDRESS_BITS, 3), "data": data.ArrayLayout(64, 3)}
)
"""An address and a word for each word column (modulo 3) of banks."""


class Window(Component):
    """Nine input banks and the selection of lanes.

    `write`: one word per cycle into each enabled bank.  `addresses`: one per bank, with `beat`.  `lanes[pixel][tap * N
    + c]` and `plane`, `reload` come out `latency` cycles later, `valid` and
    `upper_valid` of each pixel; the lanes `upper` of the left word `skew` cycles after
    those.  `centre`: whole words for a residual addition, with `residual` and `residual_set`, a cycle before the lanes;
    `residual_valid`: whether it is one, for each eighth of the word.
    """

    latency = 4

    def __init__(self, config: EngineConfig, skew: int = 0) -> None:
        self.config, self.skew = config, skew
        super().__init__(
            {
                "write": In(BANK_WRITE),
                "addresses": In(data.ArrayLayout(ADDRESS_BITS, BANKS)),
                "beat": In(BEAT),
                "lanes": Out(data.ArrayLayout(config.lanes, config.pixels)),
                "upper": Out(data.ArrayLayout(config.lanes, config.pixels)),
                "upper_valid": Out(config.pixels),
                "valid": Out(config.pixels),
                "centre": Out(64),
                "residual": Out(PLANE),
                "residual_valid": Out(COPIES),
                "residual_set": Out(1),
                "plane": Out(PLANE),
                "reload": Out(1),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        words = self._banks(m)
        beats: list[Any] = [self.beat]
        for stage in range(self.latency):
            beats.append(beat_later(m, beats[-1], f"beat_{stage + 1}"))
        m.d.comb += [
            self.plane.eq(beats[-1].plane),
            self.valid.eq(Cat(leaves(m, beats[-2].plane.valid, self.config.pixels, "valid"))),
            self.reload.eq(beats[-1].reload),
        ]
        rotated, direct = self._rotate(m, words, beats[1].window)
        self._select(m, rotated, direct, beats[2].window, beats[3].window)
        if self.config.splits:
            self._select_upper(m, rotated, beats[3])
        if self.config.adds:
            coming = beats[2].plane.valid & beats[2].window.residual
            m.d.comb += [
                self.centre.eq(Cat(*rotated[1][8:16])),
                self.residual.eq(beats[3].plane),
                self.residual_valid.eq(Cat(leaves(m, coming, COPIES, "residual_valid"))),
                self.residual_set.eq(beats[3].window.residual_set),
            ]
        return m

    def _banks(self, m: Module) -> list[Signal]:
        words = []
        depth = self.config.bank_words
        for bank in range(BANKS):
            m.submodules[f"bank_{bank}"] = memory = BlockRam(64, depth)
            m.d.comb += [
                memory.read_address.eq(self.addresses[bank]),
                memory.read_enable.eq(self.beat.plane.valid),
                memory.write_address.eq(self.write.address[bank % 3]),
                memory.write_data.eq(self.write.data[bank % 3]),
                memory.write_enable.eq(self.write.enable[bank]),
            ]
            words.append(memory.read_data)
        return words

    def _rotate(self, m: Module, words: list[Signal], early: data.View) -> tuple[list[list[Value]], list[Signal]]:
        """Slice N channels, undo the bank order, mask what lies outside; one register stage.  early: what the words
        belong to, a cycle before them; each bank has its own register of the slice's number.

        Returns [kernel row][24 pixel columns] of N bits, and [bank][8 pixels] for 1x1.
        """
        n = self.config.channels
        narrow = []
        numbers = leaves(m, early.slice, BANKS, "slice")
        for bank, (word, number) in enumerate(zip(words, numbers, strict=True)):
            sliced = Signal(8 * n, name=f"sliced_{bank}")
            slices = [Cat(*(word[8 * i + s * n : 8 * i + s * n + n] for i in range(8))) for s in range(8 // n)]
            m.d.comb += sliced.eq(Array(slices)[number] if len(slices) > 1 else slices[0])
            narrow.append(sliced)

        # What chooses is worked out a cycle before, with registers of its own for every row and every column.
        nearest_even = early.nearest & ~early.odd_row
        nearest_odd = early.nearest & early.odd_row
        rows = []
        for ky in range(3):
            shift = {0: Mux(nearest_odd, 0, 2), 1: 0, 2: Mux(nearest_even, 0, 1)}[ky]
            residue, dark = self._choice(m, f"row_{ky}", early.row_phase, shift, (early.no_top, 0, early.no_bottom)[ky])
            columns = []
            for b in range(3):
                column = Signal(8 * n, name=f"row_{ky}_bank_{b}")
                m.d.comb += column.eq(Mux(dark, 0, Array([narrow[3 * a + b] for a in range(3)])[residue]))
                columns.append(column)
            rows.append(columns)

        darks = early.no_left, 0, early.no_right
        chosen = [self._choice(m, f"column_{j}", early.column_phase, (j + 2) % 3, darks[j]) for j in range(3)]
        rotated: list[list[Value]] = []
        for ky, columns in enumerate(rows):
            line = Signal(24 * n, name=f"line_{ky}", reset_less=True)
            for j, (residue, dark) in enumerate(chosen):
                m.d.sync += line[8 * n * j : 8 * n * (j + 1)].eq(Mux(dark, 0, Array(columns)[residue]))
            rotated.append([line[n * p : n * (p + 1)] for p in range(24)])
        direct = []
        for bank in range(8):
            held = Signal(8 * n, name=f"direct_{bank}", reset_less=True)
            m.d.sync += held.eq(narrow[bank])
            direct.append(held)
        return rotated, direct

    @staticmethod
    def _choice(m: Module, name: str, phase: Value, shift: Value | int, dark: Value | int) -> tuple[Signal, Signal]:
        """Which of three residues a row or column of the window has, and whether it lies outside; registered."""
        residue, outside = unreset(**{f"{name}_residue": 2, f"{name}_dark": 1})
        m.d.sync += [residue.eq(Array([0, 1, 2, 0, 1])[phase + shift]), outside.eq(dark)]
        return residue, outside

    def _select(
        self, m: Module, rotated: list[list[Value]], direct: list[Signal], early: data.View, window: data.View
    ) -> None:
        """lanes[pixel][tap, channel] of this substep; one register stage.  early: what `window` is a cycle later; each
        pixel has its own registers of what it chooses by.
        """
        n, pixels = self.config.channels, self.config.pixels
        # The ten pixel columns that eight neighbours read, enlarged if the layer wants that.
        near: list[list[Value]] = []
        for ky, line in enumerate(rotated):
            columns = Signal(10 * n, name=f"columns_{ky}")
            for j in range(10):
                halves = [line[8 + 4 * half + ((j - 1) >> 1)] for half in (0, 1)]
                enlarged = Mux(window.odd_column, halves[1], halves[0])
                m.d.comb += columns[n * j : n * (j + 1)].eq(Mux(window.nearest, enlarged, line[7 + j]))
            near.append([columns[n * j : n * (j + 1)] for j in range(10)])
        lanes: Any = Signal(self.lanes.shape(), name="lane", reset_less=True)
        m.d.comb += self.lanes.eq(lanes)
        chosen_by = leaves(m, Cat(early.stride2, early.point, early.substep), pixels, "select")
        for pixel, by in enumerate(chosen_by):
            stride2, point_mode, number = by[0], by[1], by[2:]
            for tap in range(TAPS):
                ky, kx = divmod(tap, 3)
                choices = []
                for substep in range(self.config.substeps):
                    i = substep * pixels + pixel
                    lane = Mux(stride2, rotated[ky][7 + 2 * i + kx], near[ky][i + kx])
                    point = direct[tap][n * i : n * (i + 1)] if tap < 8 else 0
                    choices.append(Mux(point_mode, point, lane))
                chosen = Array(choices)[number] if len(choices) > 1 else choices[0]
                m.d.sync += lanes[pixel][n * tap : n * (tap + 1)].eq(chosen)

    def _select_upper(self, m: Module, rotated: list[list[Value]], beat: data.View) -> None:
        """Lanes of the left word, and whether a split layer wants them; delayed to where the upper rows begin."""
        n, pixels, window = self.config.channels, self.config.pixels, beat.window
        left = Signal(3 * n, name="left_pixels")
        m.submodules.left_pixels = memory = Memory(shape=3 * n, depth=16, init=[])
        read, write = memory.read_port(domain="comb"), memory.write_port()
        address = Cat(window.plane, window.second)
        m.d.comb += [
            read.addr.eq(address),
            write.addr.eq(address),
            write.data.eq(Cat(*(line[15] for line in rotated))),
            write.en.eq(beat.plane.valid & (window.substep == self.config.substeps - 1)),
            left.eq(Mux(window.edge, 0, read.data)),
        ]
        columns = []
        for ky, line in enumerate(rotated):
            whole = [left[n * ky : n * (ky + 1)], *line[: 8 + 1]]
            choices = [Cat(*whole[s * pixels : s * pixels + pixels + 2]) for s in range(self.config.substeps)]
            columns.append(Array(choices)[window.substep] if len(choices) > 1 else choices[0])
        chosen = Signal((pixels + 2) * 3 * n)
        m.d.comb += chosen.eq(Cat(*columns))
        # A chain without reset becomes shift-register LUTs.
        late = delayed(m, chosen, self.skew + 1, "upper_columns")
        width = (pixels + 2) * n
        for pixel in range(pixels):
            for tap in range(TAPS):
                ky, kx = divmod(tap, 3)
                at = ky * width + n * (pixel + kx)
                m.d.comb += self.upper[pixel][n * tap : n * (tap + 1)].eq(late[at : at + n])
        valid = beat.plane.valid & window.split
        late_valid = delayed(m, valid, self.skew, "upper_valid", reset_less=False)
        m.d.comb += self.upper_valid.eq(Cat(leaves(m, late_valid, pixels, "upper_valid_leaf")))
