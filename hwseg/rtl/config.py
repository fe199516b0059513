"""The engine's parameters, legalized in one place.

`EngineConfig` fixes the gates: two builds with equal configuration have byte-identical `top.v`, whatever the model.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from hwseg.errors import require

WORD_PIXELS = 8
WORD_CHANNELS = 8
TAPS = 9
BANKS = 9
PSUM_BITS = 36
ROWS_PER_PSUM = 4
ROWS_PER_SET = 8
INSTRUCTION_WORDS = 4
PAGE_INSTRUCTIONS = 128
PAGE_WORDS = PAGE_INSTRUCTIONS * INSTRUCTION_WORDS
BURST_BEATS = 16

SUFFIXES = {"table": "", "merged": "-merged", "table_dsp": "-dsp"}
"""Cores, in the order of their codes in the register `array`, and what an array's name ends in."""


DEPTHS = ("bank_words", "psum_steps", "out_words", "loop_words", "pool_words", "weight_words", "param_slots")


@dataclass(frozen=True)
class EngineConfig:
    """Array shape and memory depths.

    rows: output channels computed at once, a multiple of 8 (one requantizer set and packer per 8).
    pixels, channels: neighbouring pixels and input channels per cycle, each 1, 2, 4 or 8; the memory word is always
    8 pixels x 8 channels, smaller arrays take it in several steps.
    core: product generator, "table" (offset-binary look-up), "table_dsp" (the same, accumulated in a DSP slice) or
    "merged" (AND gates, tree, digit selection).
    bank_words: 64-bit words in each of nine input banks.  psum_steps: partial sums per core.
    out_words, loop_words: words in each of the two parity banks of a set's output memory, and of its loop memory.
    pool_words: words in its pool memory.
    weight_words: words in the weight ring.  param_slots: output groups whose requantization parameters fit.
    """

    rows: int = 16
    pixels: int = 8
    channels: int = 8
    core: str = "table"
    bank_words: int = 4096
    psum_steps: int = 256
    out_words: int = 1024
    loop_words: int = 512
    pool_words: int = 512
    weight_words: int = 1024
    param_slots: int = 64

    def __post_init__(self) -> None:
        place = f"array {self.name}"
        require(
            self.rows in range(8, 65, 8),
            place,
            f"output channels must be a multiple of 8 from 8 to 64, not {self.rows}",
            f"use {max(8, min(64, 8 * round(self.rows / 8)))}x{self.pixels}x{self.channels}",
        )
        for what, value in (("pixels", self.pixels), ("input channels", self.channels)):
            nearest = min((1, 2, 4, 8), key=lambda n: abs(n - value))
            require(value in (1, 2, 4, 8), place, f"{what} must be 1, 2, 4 or 8, not {value}", f"use {nearest}")
        require(self.core in SUFFIXES, place, f"core must be {', '.join(SUFFIXES)}, not {self.core}")
        for what in DEPTHS:
            value = getattr(self, what)
            require(
                value >= 16 and value & (value - 1) == 0, place, f"{what} must be a power of two from 16, not {value}"
            )
        require(
            self.weight_words >= self.tile_words, place, f"weight_words must hold a tile of {self.tile_words} words"
        )

    @property
    def name(self) -> str:
        return f"{self.rows}x{self.pixels}x{self.channels}{SUFFIXES.get(self.core, '')}"

    @property
    def lanes(self) -> int:
        """Products per core and plane cycle."""
        return TAPS * self.channels

    @property
    def sets(self) -> int:
        """Requantizer sets, each for 8 output channels."""
        return self.rows // ROWS_PER_SET

    @property
    def substeps(self) -> int:
        """Steps that one word of 8 pixels takes."""
        return WORD_PIXELS // self.pixels

    @property
    def splits(self) -> bool:
        """Whether layers of at most half as many channels as rows can use all rows, for two word columns a step."""
        return self.sets % 2 == 0

    @property
    def adds(self) -> bool:
        """Whether a layer's own input can be added to its requantized sums: whole words in a step, two sets."""
        return self.sets == 2 and self.pixels == WORD_PIXELS and self.channels == WORD_CHANNELS

    @property
    def slices(self) -> int:
        """Tiles that one group of 8 input channels takes."""
        return WORD_CHANNELS // self.channels

    @property
    def row_words(self) -> int:
        """64-bit words of weights for one row of cores: its lanes' bytes, the last word padded with zeros."""
        return -(-self.lanes // 8)

    @property
    def tile_words(self) -> int:
        return self.rows * self.row_words

    def stored_words(self, packed: bool) -> int:
        """Words of a weight tile in memory; packed: four bits a weight."""
        return -(-self.tile_words // 2) if packed else self.tile_words

    @property
    def peak_macs(self) -> int:
        """8x8-bit multiply-accumulates per cycle with every lane busy."""
        return self.rows * self.pixels * self.lanes // 8


PRESETS = {
    "zynq7020": EngineConfig(core="table_dsp"),
    "small": EngineConfig(rows=8, pixels=8, channels=8, bank_words=2048, out_words=512),
    "sim": EngineConfig(rows=8, pixels=4, channels=4, bank_words=2048, out_words=512),
}


def parse_array(text: str, core: str = "table") -> EngineConfig:
    """`PRESET`, `RxCxN` (output channels x pixels x input channels), either with `-merged` or `-dsp` appended;
    raises HwsegError, also for another `core`.  Without one the core is `core`; a preset keeps its own form of a
    table core.
    """
    name, _, suffix = text.partition("-")
    cores = {end[1:]: core for core, end in SUFFIXES.items() if end}
    if name in PRESETS and not suffix and core == "table":
        return PRESETS[name]
    named = cores.get(suffix, suffix) or core
    clash = f"names the core {named}, but --core is {core}"
    require(core in ("table", named), f"--array {text}", clash, f"leave out --core, or use --array {name}")
    core = named
    if name in PRESETS:
        return replace(PRESETS[name], core=core)
    match = re.fullmatch(r"(\d{1,4})x(\d{1,4})x(\d{1,4})", name)
    require(
        match is not None,
        f"--array {text}",
        f"must be auto, a preset ({', '.join(PRESETS)}) or RxCxN",
        "use for example 16x8x8",
    )
    assert match is not None
    rows, pixels, channels = map(int, match.groups())
    base = PRESETS["zynq7020"] if rows > 8 else PRESETS["small"]
    two_tiles = 2 * rows * -(-TAPS * channels // 8)
    weight_words = max(base.weight_words, 1 << (two_tiles - 1).bit_length())
    return replace(base, rows=rows, pixels=pixels, channels=channels, core=core, weight_words=weight_words)
