"""The engine: `top.v`, from its registers to its memory port.

    registers -> dispatcher -> compute queue -> compute unit --beats--> window -> encoders -> array of cores
                            -> read queue --> reader --words--> (banks)  ^                         | sums
                            -> write queue -> writer            MOVE ----'                         v
                                              |    ^              '---- output sets <- requantizers <- partial sums
               DDR <------- AXI --------------'    '--------------------'

`verilog(config)` is the text that is simulated, synthesized and packaged; it depends on the configuration alone.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from amaranth.hdl import Module, ResetSignal, Signal
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from hwseg.rtl.array import CoreArray
from hwseg.rtl.back import Back
from hwseg.rtl.bus import WINDOW_SHIFT
from hwseg.rtl.compute import Compute
from hwseg.rtl.config import ROWS_PER_SET, SUFFIXES, EngineConfig
from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.dispatch import Dispatcher
from hwseg.rtl.emit import Library
from hwseg.rtl.emit import verilog as emit_verilog
from hwseg.rtl.latency import latencies, residual_rows
from hwseg.rtl.layouts import CONFIG_LAYOUT, LOAD_LAYOUT, RUN_LAYOUT, STORE_LAYOUT
from hwseg.rtl.memory_unit import MemoryUnit
from hwseg.rtl.registers import Registers
from hwseg.rtl.resets import Leaf, reset_apart
from hwseg.rtl.residual import PASSING, ResidualQueues
from hwseg.rtl.skip import LeadingZeros
from hwseg.rtl.weights import WeightMover
from hwseg.rtl.window import Window

QUEUE_DEPTH = 16
STARTING = 2 + 2 * Leaf.latency
"""Cycles from the register's start pulse to the units': their resets, and those of the parts within them, are over."""

MASTER_PORTS: dict[str, Any] = {
    "m_axi_araddr": Out(32),
    "m_axi_arlen": Out(8),
    "m_axi_arsize": Out(3),
    "m_axi_arburst": Out(2),
    "m_axi_arcache": Out(4),
    "m_axi_arprot": Out(3),
    "m_axi_arvalid": Out(1),
    "m_axi_arready": In(1),
    "m_axi_rdata": In(64),
    "m_axi_rresp": In(2),
    "m_axi_rlast": In(1),
    "m_axi_rvalid": In(1),
    "m_axi_rready": Out(1),
    "m_axi_awaddr": Out(32),
    "m_axi_awlen": Out(8),
    "m_axi_awsize": Out(3),
    "m_axi_awburst": Out(2),
    "m_axi_awcache": Out(4),
    "m_axi_awprot": Out(3),
    "m_axi_awvalid": Out(1),
    "m_axi_awready": In(1),
    "m_axi_wdata": Out(64),
    "m_axi_wstrb": Out(8),
    "m_axi_wlast": Out(1),
    "m_axi_wvalid": Out(1),
    "m_axi_wready": In(1),
    "m_axi_bresp": In(2),
    "m_axi_bvalid": In(1),
    "m_axi_bready": Out(1),
}

LITE_PORTS: dict[str, Any] = {
    "s_axi_awaddr": In(8),
    "s_axi_awprot": In(3),
    "s_axi_awvalid": In(1),
    "s_axi_awready": Out(1),
    "s_axi_wdata": In(32),
    "s_axi_wstrb": In(4),
    "s_axi_wvalid": In(1),
    "s_axi_wready": Out(1),
    "s_axi_bresp": Out(2),
    "s_axi_bvalid": Out(1),
    "s_axi_bready": In(1),
    "s_axi_araddr": In(8),
    "s_axi_arprot": In(3),
    "s_axi_arvalid": In(1),
    "s_axi_arready": Out(1),
    "s_axi_rdata": Out(32),
    "s_axi_rresp": Out(2),
    "s_axi_rvalid": Out(1),
    "s_axi_rready": In(1),
}


class Engine(Component):
    """The whole accelerator: one AXI4-Lite subordinate port, one AXI manager port, one interrupt.

    `busy`, `layer`: what the driver's registers say, for a bench that counts cycles by layer.  `tap_*`: every block of
    8 channels x 8 pixels that the requantizers finish, before it is packed (observation only; synthesis removes it).
    """

    def __init__(self, config: EngineConfig, library: Library | None = None) -> None:
        self.config, self.library = config, library or Library()
        super().__init__(
            {
                **LITE_PORTS,
                **MASTER_PORTS,
                "interrupt": Out(1),
                "busy": Out(1),
                "layer": Out(8),
                "tap_valid": Out(config.sets),
                "tap_layer": Out(8 * config.sets),
                "tap_data": Out(512 * config.sets),
            }
        )

    def elaborate(self, platform: object) -> Module:
        m = Module()
        config, library = self.config, self.library
        self._request = Signal(name="request")
        timing = latencies(config)
        array_code = config.rows | config.pixels << 8 | config.channels << 16 | list(SUFFIXES).index(config.core) << 24

        registers = Registers(array_code, STARTING)
        dispatcher = Dispatcher()
        memory = MemoryUnit(config, library)
        wait = FAMILIES[config.core].edge_wait
        compute = Compute(config, reload=timing.reload, completion=timing.completion, wait=wait)
        mover = WeightMover(config, timing.hold)
        zeros = LeadingZeros(config)
        array = CoreArray(config, library)
        window = Window(config, array.skew)
        m.submodules.behind_array = back = Back(
            config, library, sum_bits=array.sum_bits, delay=wait + Window.latency + array.latency - 1
        )
        for name, part in (
            ("registers", registers),
            ("dispatcher", dispatcher),
            ("memory_unit", memory),
            ("compute_unit", compute),
            ("weight_mover", mover),
            ("window", window),
            ("leading_zeros", zeros),
            ("array", array),
        ):
            if part is registers:
                reset_apart(m, library, name, library.instance(part, f"hwseg_{name}"), ResetSignal("sync"))
            else:
                self._restarted(m, name, part, f"hwseg_{name}")
        self._restart(m, registers)
        self._control(m, registers, dispatcher, memory, compute)
        self._bus(m, registers, memory)

        m.d.comb += [
            mover.write.eq(memory.weight),
            mover.take.eq(compute.shadow_take),
            mover.jump.eq(compute.jump),
            compute.shadow_full.eq(mover.full),
            window.write.eq(memory.bank_write),
            zeros.write.eq(memory.bank_write),
            zeros.position.eq(compute.ahead),
            compute.count.eq(zeros.count),
            compute.saved.eq(zeros.saved),
            window.addresses.eq(compute.addresses),
            window.beat.eq(compute.beat),
            array.lanes.eq(window.lanes),
            array.upper.eq(window.upper),
            array.upper_valid.eq(window.upper_valid),
            array.valid.eq(window.valid),
            array.plane.eq(window.plane),
            array.reload.eq(window.reload),
            array.chain.eq(mover.chain),
        ]
        self._connect_back(m, back, compute, array, memory)
        if config.adds:
            self._add_residuals(m, window, back)
        return m

    def _connect_back(self, m: Module, back: Back, compute: Compute, array: CoreArray, memory: MemoryUnit) -> None:
        m.d.comb += [
            back.restart.eq(self._request),
            back.token.eq(compute.token),
            back.sums.eq(array.sums),
            back.back.eq(compute.back),
            back.parameter_write.eq(memory.parameter_write),
            back.parameter_set.eq(memory.parameter_set),
            back.output_read.eq(memory.output_read),
            back.loop_read.eq(memory.loop_read),
            memory.output_data.eq(back.output_data),
            memory.loop_data.eq(back.loop_data),
            self.tap_valid.eq(back.tap_valid),
            self.tap_layer.eq(back.tap_layer),
            self.tap_data.eq(back.tap_data),
        ]

    def _add_residuals(self, m: Module, window: Window, back: Back) -> None:
        """Windows' centre words wait for the sums that they are added to."""
        queues = ResidualQueues()
        rows = residual_rows(self.config)
        assert rows <= ROWS_PER_SET * PASSING, "the second set's queue holds what is on its way"
        self._restarted(m, "residual", queues, "hwseg_residual")
        m.d.comb += [
            queues.word.eq(window.centre),
            queues.valid.eq(window.residual_valid),
            queues.first.eq(window.residual.first),
            queues.last.eq(window.residual.last),
            queues.set.eq(window.residual_set),
            queues.take.eq(back.take),
            back.addends.eq(queues.rows),
        ]

    def _restart(self, m: Module, registers: Registers) -> None:
        """Every unit starts a run from its reset state, whatever ended the run before; the registers keep theirs.

        A start reaches the units' own resets, and the parts within them, over some registers; they begin behind it.
        """
        request = Signal(init=1, reset_less=True, name="restart")
        m.d.sync += request.eq(ResetSignal("sync") | registers.start)
        m.d.comb += self._request.eq(request)
        started = registers.start
        for stage in range(STARTING):
            late = Signal(name=f"started_{stage}")
            m.d.sync += late.eq(started)
            started = late
        self.begin = Signal()
        m.d.comb += self.begin.eq(started)

    def _restarted(self, m: Module, name: str, part: Any, module: str) -> None:
        """`part` as submodule `name`, an instance of `module`, reset at every start."""
        reset_apart(m, self.library, name, self.library.instance(part, module) if module else part, self._request)

    def _control(
        self, m: Module, registers: Registers, dispatcher: Dispatcher, memory: MemoryUnit, compute: Compute
    ) -> None:
        for sink, name, width in (
            (memory.read_instruction, "read", LOAD_LAYOUT.size),
            (memory.write_instruction, "store", STORE_LAYOUT.size),
            (compute.instruction, "compute", max(RUN_LAYOUT.size, CONFIG_LAYOUT.size)),
        ):
            queue = SyncFIFO(width=width, depth=QUEUE_DEPTH)
            self._restarted(m, f"{name}_queue", queue, "")
            source = getattr(dispatcher, name)
            m.d.comb += [
                queue.w_data.eq(source.payload),
                queue.w_en.eq(source.valid),
                source.ready.eq(queue.w_rdy),
                sink.payload.eq(queue.r_data),
                sink.valid.eq(queue.r_rdy),
                queue.r_en.eq(sink.ready),
            ]
        units_idle = Signal()
        m.d.sync += units_idle.eq(memory.idle & compute.idle)
        m.d.comb += [
            dispatcher.units_idle.eq(units_idle),
            dispatcher.start.eq(self.begin),
            dispatcher.abort.eq(memory.error & memory.quiet),
            dispatcher.program_start.eq(registers.program_start),
            dispatcher.program_words.eq(registers.program_words),
            dispatcher.write.eq(memory.program_write),
            dispatcher.pages.eq(memory.pages),
            memory.runs.eq(compute.done),
            dispatcher.base.eq(registers.base),
            memory.grant.base.eq(registers.base[WINDOW_SHIFT:]),
            memory.grant.limit.eq(registers.limit[WINDOW_SHIFT:]),
            memory.stop.eq(registers.stop),
            memory.clear.eq(self.begin),
            compute.clear.eq(self.begin),
            compute.loads.eq(memory.loads),
            compute.stores.eq(memory.stores),
            registers.busy.eq(dispatcher.busy),
            registers.done.eq(dispatcher.done),
            registers.error.eq(memory.error),
            registers.error_cause.eq(memory.cause),
            registers.error_address.eq(memory.address),
            registers.walking.eq(compute.walking),
            registers.skipped.eq(compute.skipped),
            compute.skip.eq(registers.skip),
            registers.read_beat.eq(self.m_axi_rvalid & self.m_axi_rready),
            registers.write_beat.eq(self.m_axi_wvalid & self.m_axi_wready),
            registers.layer.eq(compute.layer),
            self.interrupt.eq(registers.interrupt),
            self.busy.eq(dispatcher.busy),
            self.layer.eq(compute.layer),
        ]

    def _bus(self, m: Module, registers: Registers, memory: MemoryUnit) -> None:
        axi, lite = memory.axi, registers.bus
        for prefix, channel in (("ar", axi.ar), ("aw", axi.aw)):
            m.d.comb += [
                getattr(self, f"m_axi_{prefix}addr").eq(channel.payload.address),
                getattr(self, f"m_axi_{prefix}len").eq(channel.payload.length),
                getattr(self, f"m_axi_{prefix}size").eq(3),
                getattr(self, f"m_axi_{prefix}burst").eq(1),
                getattr(self, f"m_axi_{prefix}cache").eq(3),
                getattr(self, f"m_axi_{prefix}valid").eq(channel.valid),
                channel.ready.eq(getattr(self, f"m_axi_{prefix}ready")),
            ]
        m.d.comb += [
            axi.r.valid.eq(self.m_axi_rvalid),
            axi.r.payload.data.eq(self.m_axi_rdata),
            axi.r.payload.response.eq(self.m_axi_rresp),
            axi.r.payload.last.eq(self.m_axi_rlast),
            self.m_axi_rready.eq(axi.r.ready),
            self.m_axi_wdata.eq(axi.w.payload.data),
            self.m_axi_wstrb.eq(0xFF),
            self.m_axi_wlast.eq(axi.w.payload.last),
            self.m_axi_wvalid.eq(axi.w.valid),
            axi.w.ready.eq(self.m_axi_wready),
            axi.b.valid.eq(self.m_axi_bvalid),
            axi.b.payload.eq(self.m_axi_bresp),
            self.m_axi_bready.eq(axi.b.ready),
            lite.aw.payload.eq(self.s_axi_awaddr),
            lite.aw.valid.eq(self.s_axi_awvalid),
            self.s_axi_awready.eq(lite.aw.ready),
            lite.w.payload.data.eq(self.s_axi_wdata),
            lite.w.payload.strobe.eq(self.s_axi_wstrb),
            lite.w.valid.eq(self.s_axi_wvalid),
            self.s_axi_wready.eq(lite.w.ready),
            self.s_axi_bresp.eq(lite.b.payload),
            self.s_axi_bvalid.eq(lite.b.valid),
            lite.b.ready.eq(self.s_axi_bready),
            lite.ar.payload.eq(self.s_axi_araddr),
            lite.ar.valid.eq(self.s_axi_arvalid),
            self.s_axi_arready.eq(lite.ar.ready),
            self.s_axi_rdata.eq(lite.r.payload.data),
            self.s_axi_rresp.eq(lite.r.payload.response),
            self.s_axi_rvalid.eq(lite.r.valid),
            lite.r.ready.eq(self.s_axi_rready),
        ]


@lru_cache(maxsize=8)
def verilog(config: EngineConfig) -> str:
    """`top.v` of this configuration: modules `hwseg_*` and the top `hwseg`, each once, Verilog-2005."""
    library = Library()
    top = emit_verilog(Engine(config, library), "hwseg")
    text = library.text() + "\n" + top
    header = f"// hwseg engine {config.name}: generated, do not edit\n"
    return header + "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
