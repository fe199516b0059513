"""How often things happen in a frame: events by layer, engine part and resource class.

An event is named after the coefficient that prices it.  A part belongs to the innermost boundary that contains it, so
that energies add up from `core` to `board`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from hwseg.errors import require

SourceKind = Literal["default", "calibration", "images", "full"]

PARTS: Mapping[str, str] = {
    "cores": "core",
    "operands": "pl",
    "loaders": "pl",
    "memories": "pl",
    "outputs": "pl",
    "control": "pl",
    "clock": "pl",
    "static": "pl",
    "ps": "pl_ps",
    "ddr": "pl_ps",
    "supply": "board",
}
"""Parts of the engine and of the board around it, each with the innermost boundary that contains it.

cores: the array's cores with their clock.  operands: window, encoders, feeds from row to row.  loaders: shadow weights
and tables' loading.  memories: block RAM.  outputs: partial sums, requantizers, packers.  control: everything else.
clock: distribution, and flip-flops, shift registers and LUT memories outside the cores.  static: leakage of the logic.
ps: processing system and its port.  ddr: memory chips.  supply: regulators and the rest of the board.
"""

PRICED: Mapping[str, tuple[str, ...]] = {
    "lut_toggle": ("lut_toggle", "glitch"),
    "carry_toggle": ("carry_toggle", "glitch"),
    "table_toggle": ("table_toggle", "glitch"),
    "lut_net_toggle": ("net_toggle", "glitch"),
    "net_toggle": ("net_toggle",),
    "ff_toggle": ("ff_toggle",),
    "ff_clock": ("ff_clock",),
    "srl_clock": ("srl_clock",),
    "table_write": ("table_write",),
    "control_lut": ("lut_toggle", "control_rate"),
    "control_net": ("net_toggle", "control_rate"),
    "dsp_multiply": ("dsp_multiply",),
    "dsp_add": ("dsp_add",),
    "dsp_clock": ("dsp_clock",),
    "bram_read": ("bram_read",),
    "bram_write": ("bram_write",),
    "clock_tree": ("clock_tree",),
    "axi_beat": ("axi_beat",),
    "ddr_byte": ("ddr_byte",),
}
"""Events, and the coefficients whose product is an event's energy.

lut_net_toggle: of a net that a LUT drives, so with glitches; net_toggle: of one that a register drives.  control_lut,
control_net: LUTs and nets that are not simulated, counted once per cycle.
"""


@dataclass(frozen=True)
class LayerActivity:
    """One layer of one frame.

    macs: multiply-accumulates.  planes: digit planes that are executed, per sum.  skipped_planes: how many of them, on
    average, are leading planes that are zero in a whole step of the array: the most that skipping leaves out, counted
    here as executed (0 where no data were looked at).  cycles: of the engine's compute wave.  ddr_read, ddr_written:
    bytes.  events: counts by part (`PARTS`) and event (`PRICED`).  source: where the data activity comes from.  error:
    relative standard error of the counts that depend on data, from sampling and from the fit of the cores' events.
    """

    name: str
    op: str
    macs: int
    planes: int
    skipped_planes: float
    cycles: int
    ddr_read: int
    ddr_written: int
    events: Mapping[str, Mapping[str, float]]
    source: SourceKind
    error: float

    def __post_init__(self) -> None:
        for part, counts in self.events.items():
            require(part in PARTS, f"{self.name}: part {part}", f"must be one of {', '.join(PARTS)}")
            for event, count in counts.items():
                place = f"{self.name}: {part}: {event}"
                require(event in PRICED, place, f"must be one of {', '.join(PRICED)}")
                require(count >= 0, place, f"must be counted from 0, is {count:g}")
        require(self.error >= 0, self.name, f"must have an error of at least 0, not {self.error:g}")
