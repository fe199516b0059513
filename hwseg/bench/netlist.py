"""A synthesized 7-series netlist, simulated: every net is an integer whose bit j is the net's value in stream j.

Yosys writes the netlist as JSON; each LUT becomes a line of Python in bitwise operators, so that a cycle of a thousand
cells in 64 streams takes about a millisecond.  Delays are zero: glitches are not counted.  Of a DSP slice only the
output nets are counted: its inside (`hwseg.bench.dsp`) is not known.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from hwseg.bench.dsp import Dsp
from hwseg.errors import require

CLOCKED = {"FDRE", "FDSE", "SRL16E", "SRLC32E"}


class Netlist:
    """The netlist of module `top`; `cycle` evaluates it for one clock cycle and counts what toggled."""

    def __init__(self, path: Path, top: str, streams: int = 64) -> None:
        module = json.loads(path.read_text())["modules"][top]
        self.ones = (1 << streams) - 1
        self.streams = streams
        self.ports = {name: port["bits"] for name, port in module["ports"].items()}
        self.cells: list[dict[str, Any]] = list(module["cells"].values())
        nets = {b for cell in self.cells for bits in cell["connections"].values() for b in bits}
        nets |= {b for bits in self.ports.values() for b in bits}
        numbered = sorted(b for b in nets if isinstance(b, int))
        self.index: dict[object, int] = {b: i + 2 for i, b in enumerate(numbered)} | {"0": 0, "1": 1, "x": 0, "z": 0}
        self.names = {
            self.index[bit]: f"{name}[{i}]" if len(net["bits"]) > 1 else name
            for name, net in sorted(module.get("netnames", {}).items(), reverse=True)
            if not net.get("hide_name")
            for i, bit in enumerate(net["bits"])
            if isinstance(bit, int) and bit in nets
        }
        """Names of nets in the source, where they have one."""
        self.values = [0] * (len(numbered) + 2)
        self.values[1] = self.ones
        self.state: dict[int, Any] = {}
        self.toggles = 0
        self.by_net = [0] * len(self.values)
        """Toggles of each net against the cycle before, over all streams, as long as `count_nets` is set."""
        self.ones_by_net = [0] * len(self.values)
        """Cycles in which a net was 1, likewise."""
        self.cycles_counted = 0
        self.count_nets = False
        self.previous: list[int] | None = None
        self._prepare()

    def _net(self, cell: Mapping[str, Any], port: str, bit: int = 0) -> int:
        bits = cell["connections"].get(port, [])
        return self.index[bits[bit]] if bit < len(bits) else 0

    def _prepare(self) -> None:
        lines: list[tuple[set[int], list[int], str]] = []
        self.clocked: list[dict[str, Any]] = []
        self.slices: list[Dsp] = []
        for number, cell in enumerate(self.cells):
            kind = cell["type"]
            if kind in ("FDRE", "FDSE"):
                init = _integer(cell["parameters"].get("INIT", "0")) & 1
                self.values[self._net(cell, "Q")] = self.ones * init
                self.clocked.append(cell)
            elif kind in ("SRL16E", "SRLC32E"):
                self.state[number] = [0] * (16 if kind == "SRL16E" else 32)
                cell["number"] = number
                self.clocked.append(cell)
                lines.append(self._memory_line(cell, number))
            elif kind == "RAM32M":
                cell["number"] = number
                for column in "ABCD":
                    self.state[number, column] = [[0] * 32, [0] * 32]  # type: ignore[index]
                self.clocked.append(cell)
                lines += [self._ram_line(cell, number, column) for column in "ABCD"]
            elif kind == "DSP48E1":
                self.slices.append(dsp := Dsp(cell, partial(self._net, cell), self.streams))
                if not dsp.registered:
                    outputs = [o for _, o in dsp.outputs]
                    lines.append((dsp.inputs, outputs, f"D[{len(self.slices) - 1}].settle(v)"))
            else:
                lines += self._gate_lines(cell, kind)
        self._compile(lines)
        driven = {
            self._net(c, p, i)
            for c in self.cells
            for p, bits in c["connections"].items()
            if c["port_directions"][p] == "output"
            for i in range(len(bits))
        }
        self.counted = sorted(driven - {0, 1})

    def _gate_lines(self, cell: Mapping[str, Any], kind: str) -> list[tuple[set[int], list[int], str]]:
        def net(port: str, bit: int = 0) -> int:
            return self._net(cell, port, bit)

        if kind.startswith("LUT"):
            inputs = [net(f"I{i}") for i in range(int(kind[3]))]
            text = _lut(_integer(cell["parameters"]["INIT"]), inputs)
            return [(set(inputs), [net("O")], f"v[{net('O')}] = {text}")]
        if kind == "INV":
            return [({net("I")}, [net("O")], f"v[{net('O')}] = M ^ v[{net('I')}]")]
        if kind in ("MUXF7", "MUXF8"):
            a, b, s, o = (net(p) for p in ("I0", "I1", "S", "O"))
            return [({a, b, s}, [o], f"v[{o}] = v[{a}] ^ ((v[{a}] ^ v[{b}]) & v[{s}])")]
        require(kind == "CARRY4", f"netlist cell {kind}", "must be one that the simulator knows")
        lines, carry = [], None
        for i in range(4):
            s, d, o, co = net("S", i), net("DI", i), net("O", i), net("CO", i)
            before = f"(v[{net('CI')}] | v[{net('CYINIT')}])" if carry is None else carry
            needs = {s, d, net("CI"), net("CYINIT"), *(net(p, k) for p in ("S", "DI") for k in range(i))}
            if o > 1:
                lines.append((needs, [o], f"v[{o}] = v[{s}] ^ {before}"))
            after = f"(v[{d}] ^ ((v[{d}] ^ {before}) & v[{s}]))"
            if co > 1:
                lines.append((needs, [co], f"v[{co}] = {after}"))
            carry = after
        return lines

    def _memory_line(self, cell: Mapping[str, Any], number: int) -> tuple[set[int], list[int], str]:
        bits = 4 if cell["type"] == "SRL16E" else 5
        address = [self._net(cell, f"A{i}") if bits == 4 else self._net(cell, "A", i) for i in range(bits)]
        return set(address), [self._net(cell, "Q")], f"v[{self._net(cell, 'Q')}] = read(S[{number}], {address}, v)"

    def _ram_line(self, cell: Mapping[str, Any], number: int, column: str) -> tuple[set[int], list[int], str]:
        address = [self._net(cell, f"ADDR{column}", i) for i in range(5)]
        outputs = [self._net(cell, f"DO{column}", i) for i in range(2)]
        text = "; ".join(
            f"v[{o}] = read(S[{number}, '{column}'][{i}], {address}, v)" for i, o in enumerate(outputs) if o > 1
        )
        return set(address), [o for o in outputs if o > 1], text or "pass"

    def _compile(self, lines: list[tuple[set[int], list[int], str]]) -> None:
        source = {o: i for i, (_, outs, _) in enumerate(lines) for o in outs}
        order: list[int] = []
        done: set[int] = set()
        for start in range(len(lines)):
            stack = [(start, iter(sorted(lines[start][0])))]
            if start in done:
                continue
            done.add(start)
            while stack:
                at, inputs = stack[-1]
                for net in inputs:
                    below = source.get(net)
                    if below is not None and below not in done:
                        done.add(below)
                        stack.append((below, iter(sorted(lines[below][0]))))
                        break
                else:
                    order.append(at)
                    stack.pop()
        body = "\n    ".join(lines[i][2] for i in order) or "pass"
        space: dict[str, Any] = {"read": self._read, "D": self.slices}
        exec(compile(f"def settle(v, M, S):\n    {body}\n", "<netlist>", "exec"), space)
        self.settle = space["settle"]

    def _read(self, words: list[int], address: list[int], v: list[int]) -> int:
        """A multiplexer of the words; addresses may differ from stream to stream."""
        for a in address:
            select = v[a]
            low, high = words[::2], words[1::2]
            words = [x if x == y else x ^ ((x ^ y) & select) for x, y in zip(low, high, strict=True)]
        return words[0]

    def drive(self, port: str, value: int) -> None:
        """The same integer in all streams."""
        for i, bit in enumerate(self.ports[port]):
            self.values[self.index[bit]] = self.ones if value >> i & 1 else 0

    def drive_streams(self, port: str, bits: list[int]) -> None:
        """Bit by bit, an integer with a bit per stream."""
        for bit, value in zip(self.ports[port], bits, strict=True):
            self.values[self.index[bit]] = value

    def read(self, port: str) -> list[int]:
        """The port's two's complement value in each stream."""
        nets = [self.values[self.index[b]] for b in self.ports[port]]
        words = [sum((n >> j & 1) << i for i, n in enumerate(nets)) for j in range(self.streams)]
        top = len(nets) - 1
        return [w - ((w >> top) << (top + 1)) for w in words]

    def cycle(self, before: list[int] | None) -> list[int]:
        """Settle with the driven inputs, count toggles against `before` unless it is None, clock; settled values."""
        v = self.values
        self.settle(v, self.ones, self.state)
        settled = v.copy()
        if before is not None:
            self.toggles += sum((settled[n] ^ before[n]).bit_count() for n in self.counted)
        if self.count_nets and self.previous is not None:
            self._count_nets(settled, self.previous)
        self.previous = settled
        for cell in self.clocked:
            self._clock(cell, settled)
        for dsp in self.slices:
            dsp.clock(settled, v)
        return settled

    def _count_nets(self, settled: list[int], before: list[int]) -> None:
        self.cycles_counted += 1
        for n in range(2, len(settled)):
            self.by_net[n] += (settled[n] ^ before[n]).bit_count()
            self.ones_by_net[n] += settled[n].bit_count()

    def _clock(self, cell: Mapping[str, Any], old: list[int]) -> None:
        def net(port: str, bit: int = 0) -> int:
            return self._net(cell, port, bit)

        kind, v = cell["type"], self.values
        if kind in ("FDRE", "FDSE"):
            q, d, enable = old[net("Q")], old[net("D")], old[net("CE")]
            following = q ^ ((q ^ d) & enable)
            if kind == "FDRE":
                v[net("Q")] = following & ~old[net("R")]
            else:
                v[net("Q")] = following | old[net("S")]
        elif kind in ("SRL16E", "SRLC32E"):
            words, enable, d = self.state[cell["number"]], old[net("CE")], old[net("D")]
            self.state[cell["number"]] = [w ^ ((w ^ x) & enable) for w, x in zip(words, [d, *words[:-1]], strict=True)]
        else:
            if not (write := old[net("WE")]):
                return
            for word in range(32):
                match = write
                for i in range(5):
                    bit = old[net("ADDRD", i)]
                    match &= bit if word >> i & 1 else ~bit
                if match:
                    for column in "ABCD":
                        for i in range(2):
                            words = self.state[cell["number"], column][i]  # type: ignore[index]
                            words[word] = words[word] & ~match | old[net(f"DI{column}", i)] & match


def _integer(text: str | int) -> int:
    return text if isinstance(text, int) else int(text.replace("x", "0"), 2)


def _lut(init: int, inputs: list[int]) -> str:
    """Bitwise Python of a look-up table, by Shannon's expansion at the last input."""
    if not inputs:
        return "M" if init & 1 else "0"
    half = 1 << (len(inputs) - 1)
    low, high = init & ((1 << half) - 1), init >> half & ((1 << half) - 1)
    x, rest = f"v[{inputs[-1]}]", inputs[:-1]
    full = (1 << half) - 1
    if low == high:
        return _lut(low, rest)
    if low == high ^ full:
        return f"({x} ^ {_lut(low, rest)})"
    if low == 0:
        return f"({x} & {_lut(high, rest)})" if high != full else x
    if high == 0:
        return f"(~{x} & {_lut(low, rest)})" if low != full else f"(M ^ {x})"
    if high == full:
        return f"({x} | {_lut(low, rest)})"
    if low == full:
        return f"(M ^ {x} | {_lut(high, rest)})"
    a = _lut(low, rest)
    return f"({a} ^ (({a} ^ {_lut(high, rest)}) & {x}))"
