"""Verilog with each distinct module written once.

Amaranth writes every use of a component as its own copy of the Verilog, so that an array of 128 equal cores costs 128
definitions.  A `Library` keeps one definition per name instead, and parents instantiate it:

    def elaborate(self, platform):
        core = Core(72)                                       # its ports are signals, to be wired as always
        m.submodules.core = self.library.instance(core, "core_72")

`instance` converts the component when its name comes for the first time; converting a parent converts its children
the same way, so `library.instance(top, "top")` and `library.text()` give the whole design, children first.  With
`Library(flat=True)` the same `elaborate` gets the component itself back, and the Amaranth simulator runs what the
Verilog says.

Modules below a component that it did not take from a library are named `component__child`.  A `Part` is no module: a
boundary of a unit's source, over which synthesis optimizes as if it were not there.  The text is Verilog-2005, has no
source positions, and depends on the components alone.
"""

from __future__ import annotations

import re
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import fields, is_dataclass
from typing import Any

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Elaboratable, Fragment, Instance, ResetSignal, Value
from amaranth.hdl._ir import PortDirection
from amaranth.lib.wiring import Component, Flow

from hwseg.rtl.blank import blank_memories
from hwseg.rtl.cells import VERILOG
from hwseg.toolchain.wasm_yosys import verilog_of

CLOCK_AND_RESET = ("clk", "rst")
DIRECTIONS = {Flow.In: PortDirection.Input, Flow.Out: PortDirection.Output}


class Part(Component):
    """A component with a boundary for the reader and none for synthesis: the Verilog has its signals as `part__signal`,
    in the module around it.

    For what belongs to one unit and is joined to the rest of it without registers: modules stay apart until they are
    mapped (`hwseg.builds.build`), so that a path over a boundary is a level of logic longer.
    """


def verilog(component: Component, name: str) -> str:
    """Verilog-2005 of one component as module `name`, with the components below it that come from no library."""
    return _verilog(*_rtlil(component, name), name)


def _rtlil(component: Component, name: str) -> tuple[str, tuple[str, ...]]:
    """What Amaranth writes for Yosys, and which of its modules are parts of those around them."""
    ports = {
        "__".join(map(str, path)): (Value.cast(value), DIRECTIONS[member.flow])
        for path, member, value in component.signature.flatten(component)
    }
    with blank_memories():
        fragment: Any = Fragment.get(component, VERILOG)  # type: ignore[no-untyped-call]
        design = fragment.prepare(ports=ports, hierarchy=(name,))
        text: str = rtlil.convert_fragment(design, emit_src=False)[0]
    parts = (
        ".".join(info.name)
        for fragment, info in design.fragments.items()
        if any(isinstance(origin, Part) for origin in fragment.origins or ())
    )
    return text, tuple(parts)


def _verilog(text: str, parts: tuple[str, ...], name: str) -> str:
    """What Yosys makes of it."""
    return _plain(_without_zero_contents(re.sub(r"\A/\*.*?\*/\s*", "", verilog_of(text, parts), flags=re.S)), name)


class Library:
    """Distinct modules by name.  flat: hand components back instead of instances (for the Amaranth simulator).

    Yosys, a process of its own, converts one module while Amaranth elaborates the next.
    """

    def __init__(self, flat: bool = False) -> None:
        self.flat = flat
        self._yosys = ThreadPoolExecutor(1)
        self._modules: dict[str, Future[str]] = {}
        self._ports: dict[str, frozenset[str]] = {}
        self._parameters: dict[str, tuple[Any, ...]] = {}

    def instance(self, component: Component, name: str) -> Elaboratable | Instance:
        """`component` as an instance of module `name`; equal names must be equal components."""
        if self.flat:
            return component
        self._define(component, name)
        existing = self._ports[name]
        wires: list[tuple[str, str, Any]] = [
            ("i", port, signal)
            for port, signal in zip(CLOCK_AND_RESET, (ClockSignal(), ResetSignal()), strict=True)
            if port in existing
        ]
        for path, member, value in component.signature.flatten(component):
            port = "__".join(map(str, path))
            wires.append(("i" if member.flow == Flow.In else "o", port, Value.cast(value)))
        return Instance(name, *(wire for wire in wires if wire[1] in existing))

    def _define(self, component: Component, name: str) -> None:
        parameters = (type(component), component.signature, *_parameters(component))
        component._MustUse__used = True  # type: ignore[attr-defined]  # only the first of equal components is elaborated
        if self._parameters.setdefault(name, parameters) != parameters:
            raise ValueError(f"module {name} is already another component: {self._parameters[name]}")
        if name not in self._modules:
            text, parts = _rtlil(component, name)
            self._ports[name] = _ports(text, name)
            self._modules[name] = self._yosys.submit(_verilog, text, parts, name)

    def text(self) -> str:
        """Every module exactly once, children before parents; cells of the device: see `hwseg.rtl.cells.sim_cells`."""
        return "\n".join(module.result() for module in self._modules.values())

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._modules)


def _without_zero_contents(text: str) -> str:
    """Drop initial blocks that only fill a memory with zeros, a line per word: no word counts before it is written."""
    return re.sub(r"  initial begin\n(?:    \S+\s*\[\d+\] = \d+'h0+;\n)+  end\n", "", text)


def _ports(text: str, name: str) -> frozenset[str]:
    """Port names of module `name` in RTLIL."""
    module = re.search(rf"^module \\{re.escape(name)}\n(.*?)^end$", text, flags=re.S | re.M)
    wires = r"^  wire (?:.* )?(?:input|output) \d+ (?:.* )?\\(\S+)$"
    return frozenset(re.findall(wires, module.group(1), flags=re.M)) if module else frozenset()


def _parameters(component: Component) -> list[tuple[str, Any]]:
    """A component's attributes that are plain values: what distinguishes two components of one class."""
    plain = (int, str, bool, tuple, frozenset)
    return sorted(
        (key, value)
        for key, value in vars(component).items()
        if not key.startswith("_") and (isinstance(value, plain) or (is_dataclass(value) and bool(fields(value))))
    )


def _plain(text: str, name: str) -> str:
    """Escaped identifiers as plain ones.

    `\\$12 ` becomes `_12`, a child module `\\core.table ` becomes `core__table`.  Escaped names that begin with a
    dollar collide with Yosys's own when the text is read back (an assertion in its abc pass).
    """
    taken = set(re.findall(r"(?<![\\$\w'])[A-Za-z_]\w*", text))
    names: dict[str, str] = {}

    def rename(match: re.Match[str]) -> str:
        old = match.group(1)
        if old not in names:
            stem = "always_once" if "dump_module" in old else re.sub(r"\W+", "_", old.replace(".", "__"))
            if not re.match(r"[A-Za-z_]", stem):
                stem = "_" + stem
            new, n = stem, 1
            while new in taken:
                n += 1
                new = f"{stem}_{n}"
            taken.add(new)
            names[old] = new
        return names[old] + " "

    return re.sub(r"\\(\S+)[ ]", rename, text)
