"""A DSP48E1 of a simulated netlist: registers, pre-adder, multiplier and adder, many streams at once.

Only what synthesis and the cores use: operands A, B, C, D, sums passed on by PCOUT; no SIMD, no pattern detection.
tests/bench/test_netlist.py compares it with the model that Yosys ships.  Source: UG479, 7 Series DSP48E1 Slice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from hwseg.errors import require

BITS = {"A": 30, "B": 18, "C": 48, "D": 25, "INMODE": 5, "OPMODE": 7, "ALUMODE": 4, "CARRYIN": 1}
ENABLES = {
    "AREG": "CEA2",
    "BREG": "CEB2",
    "CREG": "CEC",
    "DREG": "CED",
    "ADREG": "CEAD",
    "MREG": "CEM",
    "PREG": "CEP",
    "INMODEREG": "CEINMODE",
    "OPMODEREG": "CECTRL",
    "ALUMODEREG": "CEALUMODE",
    "CARRYINREG": "CECARRYIN",
}
RESETS = {
    "AREG": "RSTA",
    "BREG": "RSTB",
    "CREG": "RSTC",
    "DREG": "RSTD",
    "ADREG": "RSTD",
    "MREG": "RSTM",
    "PREG": "RSTP",
    "INMODEREG": "RSTINMODE",
    "OPMODEREG": "RSTCTRL",
    "ALUMODEREG": "RSTALUMODE",
    "CARRYINREG": "RSTALLCARRYIN",
}
FIXED = {"A_INPUT": "DIRECT", "B_INPUT": "DIRECT", "USE_SIMD": "ONE48", "USE_PATTERN_DETECT": "NO_PATDET"}

Words = np.ndarray


class Dsp:
    """One slice.  net: the index of a port's bit; streams: at most 64, bit j of a net's value is stream j."""

    def __init__(self, cell: Mapping[str, Any], net: Callable[[str, int], int], streams: int) -> None:
        place = "netlist cell DSP48E1"
        require(streams <= 64, place, f"simulates at most 64 streams, not {streams}")
        parameters = {name: str(value).strip() for name, value in cell["parameters"].items()}
        for name, wanted in FIXED.items():
            require(parameters.get(name, wanted) == wanted, place, f"{name} must be {wanted}")
        for name, value in parameters.items():
            inverted = name.startswith("IS_") and "1" in value
            require(not inverted, place, f"{name} must be 0")
        self.depth = {name: _integer(parameters.get(name, "1")) for name in ENABLES}
        require(all(depth < 2 for depth in self.depth.values()), place, "must have one register per input at most")
        self.pre_adder = parameters.get("USE_DPORT", "FALSE") == "TRUE"
        self.ports = {name: [net(name, i) for i in range(bits)] for name, bits in BITS.items()}
        self.enables = {name: net(port, 0) for name, port in ENABLES.items()}
        self.resets = {name: net(port, 0) for name, port in RESETS.items()}
        self.cascade = [net("PCIN", i) for i in range(48)]
        self.outputs = [
            (i, n)
            for port in ("P", "PCOUT")
            for i in range(len(cell["connections"].get(port, [])))
            if (n := net(port, i)) > 1
        ]
        self.streams = np.arange(streams, dtype=np.uint64)
        self.state = {name: np.zeros(streams, np.int64) for name, depth in self.depth.items() if depth}

    @property
    def registered(self) -> bool:
        return bool(self.depth["PREG"])

    @property
    def inputs(self) -> set[int]:
        return {n for nets in (*self.ports.values(), self.cascade) for n in nets}

    def settle(self, v: list[int]) -> None:
        """Drive P where it has no register."""
        self._drive(self._evaluate(v)["PREG"], v)

    def clock(self, old: list[int], v: list[int]) -> None:
        """Take the settled nets `old` into the registers and drive P."""
        found = self._evaluate(old)
        for name in self.state:
            enable, reset = (self._word([nets[name]], old) for nets in (self.enables, self.resets))
            kept = np.where(enable != 0, found[name], self.state[name])
            self.state[name] = np.where(reset != 0, 0, kept)
        if self.registered:
            self._drive(self.state["PREG"], v)

    def _word(self, nets: list[int], v: list[int]) -> Words:
        """The unsigned word of these nets in each stream."""
        values = np.array([v[n] for n in nets], np.uint64)
        bits = (values[:, None] >> self.streams) & np.uint64(1)
        word: Words = (bits.astype(np.int64) << np.arange(len(nets))[:, None]).sum(0)
        return word

    def _drive(self, word: Words, v: list[int]) -> None:
        for i, net in self.outputs:
            bits = (word >> i & 1).astype(np.uint64) << self.streams
            v[net] = int(np.bitwise_or.reduce(bits))

    def _evaluate(self, v: list[int]) -> dict[str, Words]:
        """What stands at every register's input; a register that is not there passes it on."""
        d: dict[str, Words] = {}

        def through(register: str, value: Words) -> Words:
            d[register] = value
            return self.state[register] if self.depth[register] else value

        words = {name: through(f"{name}REG", self._word(nets, v)) for name, nets in self.ports.items()}
        a, b, c, x = (_signed(words[name], BITS[name]) for name in "ABCD")
        inmode, opmode, alumode = words["INMODE"], words["OPMODE"], words["ALUMODE"]
        whole = a
        a = np.where(inmode & 2, 0, _signed(a, 25))
        x = np.where(inmode & 4, x, 0)
        added = through("ADREG", _signed(np.where(inmode & 8, x - a, x + a), 25))
        product = through("MREG", (added if self.pre_adder else a) * b)
        p = self.state.get("PREG", np.zeros_like(a))
        joined = (whole << 18) | (b & ((1 << 18) - 1))
        first = np.select([opmode & 3 == 1, opmode & 3 == 2, opmode & 3 == 3], [product, p, joined], 0)
        second = np.select([opmode & 12 == 8, opmode & 12 == 12], [np.full_like(a, -1), c], 0)
        passed = _signed(self._word(self.cascade, v), 48)
        third = np.select([opmode >> 4 == 1, opmode >> 4 == 2, opmode >> 4 == 3], [passed, p, c], 0)
        right = first + second + words["CARRYIN"]
        require(not alumode[0] & 12, "netlist cell DSP48E1", "must add or subtract, not compute logic")
        total = np.select([alumode == 1, alumode == 2, alumode == 3], [~third + right, ~(third + right), third - right])
        through("PREG", _signed(np.where(alumode == 0, third + right, total), 48))
        return d


def _signed(word: Words, bits: int) -> Words:
    """Two's complement of the low bits."""
    low = word & ((1 << bits) - 1)
    value: Words = low - ((low >> (bits - 1)) << bits)
    return value


def _integer(text: str) -> int:
    return int(text.replace("x", "0"), 2)
