"""The compute unit: executes CONFIG and RUN in order and sends beats, addresses and tokens into the array's front.

    CONFIG  replaces the configuration.  What follows the array keeps the one before too, for RUNs on their way; so
            CONFIG waits only for the RUNs before the last CONFIG (with `drain` for all)
    RUN     waits for its operands; with `reload` waits for the shadow weights and sends the reload marker; then walks

        for row: for word column: for row of the pair: for substep:      one step = `interval` cycles
            plane 0, plane 1, ... plane B-1, idle ...                       the token goes with the last plane

With skipping a step begins at the first plane that is not zero in its whole window (`hwseg.rtl.skip`), except a RUN's
first step, for which there is no time to find out; every plane left out is a cycle less, down to the shortest step.

    walk -> cycle of the walk -+-> input addresses                           hwseg.rtl.walk, hwseg.rtl.addresses
                               +-> output addresses -> token, beat           hwseg.rtl.beats
                               '-> next step's window -> leading zeros

Timing: see `hwseg.rtl.latency`.
"""

from __future__ import annotations

from amaranth.hdl import Module, Mux, Signal, unsigned
from amaranth.lib import data, stream
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.addresses import InputAddresses, OutputAddresses, WindowAhead
from hwseg.rtl.beats import Beats
from hwseg.rtl.config import BANKS, EngineConfig
from hwseg.rtl.isa import Opcode
from hwseg.rtl.layouts import BACK_FIELDS, BACK_LAYOUT, BEAT, CONFIG_LAYOUT, RUN_LAYOUT, TOKEN
from hwseg.rtl.skip import COUNT_BITS, MOST, POSITION
from hwseg.rtl.walk import COLUMN_BITS, ROW_BITS, Walk
from hwseg.rtl.weights import JUMP
from hwseg.rtl.window import ADDRESS_BITS

COUNTER_BITS = 16


class Compute(Component):
    """Sequencer of the array.  `instruction`: 256 bits, CONFIG or RUN.  `done` counts completed RUNs modulo 2**16.

    completion: cycles from a RUN's last plane to the end of everything that it wrote (the engine's pipeline depth).
    reload: cycles from the reload marker to the first plane.  wait: cycles by which addresses and planes at the ports
    come after the marker and the token of the same cycle of the walk.
    """

    latency = Beats.latency
    """Cycles from a walk's cycle to its beat, addresses and token at the ports."""

    def __init__(self, config: EngineConfig, *, reload: int, completion: int, wait: int = 0) -> None:
        self.config, self.reload, self.completion, self.wait = config, reload, completion, wait
        super().__init__(
            {
                "instruction": In(stream.Signature(unsigned(256))),
                "loads": In(COUNTER_BITS),
                "stores": In(COUNTER_BITS),
                "shadow_full": In(1),
                "shadow_take": Out(1),
                "jump": Out(JUMP),
                "addresses": Out(data.ArrayLayout(ADDRESS_BITS, BANKS)),
                "beat": Out(BEAT),
                "token": Out(TOKEN),
                "back": Out(data.ArrayLayout(BACK_LAYOUT, 2)),
                "done": Out(COUNTER_BITS),
                "idle": Out(1),
                "layer": Out(8),
                "walking": Out(1),
                "clear": In(1),
                "skip": In(1),
                "ahead": Out(POSITION),
                "count": In(COUNT_BITS),
                "saved": In(range(MOST + 1)),
                "skipped": Out(4),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        run, configuration = Signal(RUN_LAYOUT, reset_less=True), Signal(CONFIG_LAYOUT, reset_less=True)
        # Of a RUN, subtracted as it is taken.
        columns_less = [Signal(COLUMN_BITS, name=f"columns_less_{n}", reset_less=True) for n in (1, 2)]
        rows_less = [Signal(ROW_BITS, name=f"rows_less_{n}", reset_less=True) for n in (1, 2)]
        half, mark = Signal(), Signal(COUNTER_BITS)
        held, back = Signal(256, reset_less=True), Signal(self.back.shape(), name="back_half", reset_less=True)
        m.d.comb += self.back.eq(back)
        begin, walk_end = Signal(), Signal()
        issued, drained = Signal(COUNTER_BITS), Signal()
        timer = Signal(range(max(self.reload, 2) + 1), reset_less=True)
        m.d.comb += [drained.eq(issued == self.done), self.jump.enable.eq(run.jump), self.jump.to.eq(run.tile)]

        def reached(counter: Signal, wait: Signal) -> Signal:
            return ~(counter - wait)[COUNTER_BITS - 1]

        with m.FSM():
            with m.State("IDLE"):
                m.d.comb += [self.instruction.ready.eq(1), self.idle.eq(drained & ~self.instruction.valid)]
                with m.If(self.instruction.valid):
                    view = data.View(RUN_LAYOUT, self.instruction.payload[: RUN_LAYOUT.size])
                    m.d.sync += [held.eq(self.instruction.payload), run.eq(view), self.layer.eq(view.layer)]
                    m.d.sync += [s.eq(view.columns - n) for n, s in enumerate(columns_less, 1)]
                    m.d.sync += [s.eq(view.rows - n) for n, s in enumerate(rows_less, 1)]
                    with m.If(view.opcode == Opcode.CONFIG):
                        m.next = "CONFIG"
                    with m.Else():
                        m.next = "WAIT"
            with m.State("CONFIG"):
                new = data.View(CONFIG_LAYOUT, held[: CONFIG_LAYOUT.size])
                with m.If(Mux(new.drain, drained, reached(self.done, mark))):
                    m.d.sync += [configuration.eq(new), half.eq(~half), mark.eq(issued)]
                    for number in range(2):
                        with m.If(half != number):
                            m.d.sync += [getattr(back[number], f).eq(getattr(new, f)) for f in BACK_FIELDS]
                    m.next = "IDLE"
            with m.State("WAIT"):
                ready = reached(self.loads, run.wait_loads) & reached(self.stores, run.wait_stores)
                with m.If(ready & (~run.reload | self.shadow_full)):
                    m.d.comb += begin.eq(1)
                    m.d.sync += timer.eq(self.reload - 1)
                    with m.If(run.reload):
                        m.d.comb += self.shadow_take.eq(1)
                        m.next = "RELOAD" if self.reload > 1 else "WALK"
                    with m.Else():
                        m.next = "WALK"
            with m.State("RELOAD"):
                m.d.sync += timer.eq(timer - 1)
                with m.If(timer == 1):
                    m.next = "WALK"
            with m.State("WALK"):
                m.d.comb += self.walking.eq(1)
                with m.If(walk_end):
                    m.d.sync += issued.eq(issued + 1)
                    m.next = "IDLE"

        m.submodules.walk = walk = Walk(self.config)
        m.d.comb += [
            *(walk.columns_less[n].eq(less) for n, less in enumerate(columns_less)),
            *(walk.rows_less[n].eq(less) for n, less in enumerate(rows_less)),
            walk_end.eq(walk.walk_end),
        ]
        self._send(m, walk, run, configuration, half, begin)
        self._complete(m, walk_end)
        with m.If(self.clear):
            m.d.sync += [self.done.eq(0), issued.eq(0)]
        return m

    def _complete(self, m: Module, walk_end: Signal) -> None:
        """Count a RUN when everything that it wrote is there."""
        finished = [walk_end]
        for stage in range(self.completion):
            finished.append(Signal(name=f"finished_{stage}"))
            m.d.sync += finished[-1].eq(finished[-2])
        with m.If(finished[-1]):
            m.d.sync += self.done.eq(self.done + 1)

    def _send(
        self, m: Module, walk: Walk, run: data.View, configuration: data.View, half: Signal, begin: Signal
    ) -> None:
        """What the walk's cycles become: addresses, beats and tokens."""
        m.submodules.input_addresses = inputs = InputAddresses(self.wait)
        m.submodules.output_addresses = outputs = OutputAddresses(self.config)
        m.submodules.window_ahead = ahead = WindowAhead()
        m.submodules.beats = beats = Beats(self.wait)
        for part in (walk, inputs, outputs, ahead, beats):
            m.d.comb += [part.run.eq(run), part.configuration.eq(configuration)]
        m.d.comb += [
            walk.begin.eq(begin),
            walk.walking.eq(self.walking),
            walk.skip.eq(self.skip),
            walk.count.eq(self.count),
            walk.saved.eq(self.saved),
            self.skipped.eq(walk.skipped),
            inputs.at.eq(walk.at),
            inputs.wrap_back.eq(walk.wrap_back),
            self.addresses.eq(inputs.addresses),
            outputs.at.eq(walk.at),
            outputs.begin.eq(begin),
            outputs.step_end.eq(walk.step_end),
            ahead.ahead.eq(walk.ahead),
            ahead.wrap_back.eq(walk.wrap_back),
            self.ahead.eq(ahead.position),
            beats.at.eq(walk.at),
            beats.targets.eq(outputs.targets),
            beats.half.eq(half),
            beats.reload.eq(begin & run.reload),
            self.beat.eq(beats.beat),
            self.token.eq(beats.token),
        ]
