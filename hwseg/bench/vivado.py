"""Vivado's own power figure of a build, with the activity of its cores on real pictures: `hwseg report --vivado`.

The cores' netlists are simulated on the layers' data and written as SAIF for every core of the array; Vivado matches
nets by their names, which registers keep, and propagates the rest.  The design is synthesized, placed and routed out of
context: top.v has no pins.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwseg import golden
from hwseg.bench.energy_cores import Sample, run_netlist, samples
from hwseg.bench.saif import Instance, Net, Saif, nets_of, text
from hwseg.borders import finished
from hwseg.builds.energy import CALIBRATION, read_images, stored_picture
from hwseg.compile.program import Program
from hwseg.energy.traffic import traffic
from hwseg.errors import require
from hwseg.power.band import Band
from hwseg.power.estimate import EnergyReport
from hwseg.rtl.config import EngineConfig
from hwseg.rtl.cores import FAMILIES
from hwseg.toolchain import yosys

LAYERS = 4
"""Layers that are simulated: those with the most work."""

TOP, ARRAY = "hwseg", "array"
ROW = re.compile(r"^\|\s*(.+?)\s*\|\s*<?([\d.]+)\s*\|")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Figures:
    """W: Vivado's, by the rows of its summary, and our estimate of the same boundary, the programmable logic."""

    vivado: dict[str, float]
    estimated: Band

    @property
    def told(self) -> str:
        """Both, in a sentence."""
        ours = self.estimated
        return (
            f"Vivado's report_power: {self.vivado['Total On-Chip Power (W)']:.3f} W in the programmable logic "
            f"({self.vivado['Dynamic (W)']:.3f} W dynamic); estimated: {ours.mid:.3f} W "
            f"({ours.low:.3f} to {ours.high:.3f})"
        )


def compare(
    build: Path,
    images: Path | None,
    energy: EnergyReport,
    progress: Progress,
    fit: str = "",
    page: int | None = None,
) -> Figures:
    """Run Vivado on a build's top.v.  images, fit, page: as of `hwseg.builds.energy.activity_of`; without them and
    without a calibration picture in the build there is no activity to export.

    Raises HwsegError where Vivado or pyosys is not installed, or Vivado fails, with the last error of its log.
    """
    from hwseg.builds.read import load_build

    program_path = shutil.which("vivado")
    require(
        program_path is not None, "--vivado", "needs vivado on PATH, which is not there", "install Vivado ML Standard"
    )
    require(yosys.version() is not None, "--vivado", "needs pyosys, which is not there", "install hwseg[synth]")
    _, program, report = load_build(build)
    activity = saif(build, program, images, float(report["clock_mhz"]), progress, fit, page)
    assert program_path is not None
    with tempfile.TemporaryDirectory(prefix="hwseg-vivado-") as scratch:
        work = Path(scratch)
        for source in ("top.v",):
            shutil.copyfile(build / source, work / source)
        (work / "activity.saif").write_text(text(activity))
        (work / "power.tcl").write_text(tcl(program.board.part, float(report["clock_mhz"]), energy.temperature))
        progress("Vivado: synthesis, place and route, report_power")
        _run(program_path, work)
        found = parse_report((work / "power.txt").read_text() if (work / "power.txt").is_file() else "")
    return Figures(found, energy.watts("pl"))


def saif(
    build: Path,
    program: Program,
    images: Path | None,
    clock_mhz: float,
    progress: Progress,
    fit: str = "",
    page: int | None = None,
) -> Saif:
    """Activity of every core: the netlist's on the layers with the most work, one after the other."""

    stored = build / CALIBRATION
    require(
        images is not None or stored.is_file(),
        "--vivado",
        "needs pictures for the activity, and the build has none",
        "add --images, or compile with --calibrate",
    )
    inputs = [stored_picture(build)] if images is None else read_images(images, program.graph, False, fit, page)
    tensors = golden.run(program.graph, inputs[0]).tensors
    counts = traffic(program.program, program.timing(), program.config)
    plans = sorted(program.plans, key=lambda plan: -counts[plan.index].plane_cycles)[:LAYERS]
    work = [s for plan in plans for s in samples(plan, tensors, program.config, 1)]
    require(len(work) > 0, "--vivado", "finds no layer of unsigned activations", "use a model with ReLU")
    progress(f"netlist of core {program.config.core}")
    return array_saif(program.config, core_nets(program.config, work, clock_mhz))


def core_nets(config: EngineConfig, work: Sequence[Sample], clock_mhz: float) -> tuple[int, tuple[Net, ...]]:
    """Duration and nets of one core over all samples."""
    duration = 0
    total: dict[str, Net] = {}
    for sample in work:
        machine = run_netlist(FAMILIES[config.core], sample)
        part, nets = nets_of(machine, clock_mhz)
        duration += part
        for net in nets:
            old = total.get(net.name, Net(net.name, 0, 0, 0))
            total[net.name] = Net(net.name, old.t0 + net.t0, old.t1 + net.t1, old.tc + net.tc)
    return duration, tuple(total.values())


def array_saif(config: EngineConfig, found: tuple[int, tuple[Net, ...]]) -> Saif:
    """The same activity for every core of an array."""
    duration, nets = found
    cores = tuple(Instance(f"core_{c}", nets) for c in range(config.pixels))
    rows = tuple(Instance(f"row_{r}", (), cores) for r in range(config.rows))
    return Saif(duration, Instance(TOP, (), (Instance(ARRAY, (), rows),)))


def tcl(part: str, clock_mhz: float, temperature: float) -> str:
    """The batch script."""
    return "\n".join(
        [
            "read_verilog top.v",
            f"synth_design -top {TOP} -part {part} -mode out_of_context -flatten_hierarchy none "
            "-keep_equivalent_registers",
            f"create_clock -name clk -period {1e3 / clock_mhz:.3f} [get_ports clk]",
            "opt_design",
            "place_design",
            "route_design",
            f"set_operating_conditions -junction_temp {temperature:g}",
            f"read_saif -strip_path {TOP} activity.saif",
            "report_power -file power.txt",
            "",
        ]
    )


def parse_report(content: str) -> dict[str, float]:
    """W by row of the summary and of the on-chip components; raises HwsegError where the totals are missing."""
    found: dict[str, float] = {}
    for line in content.splitlines():
        if match := ROW.match(line):
            found.setdefault(match[1], float(match[2]))
    needed = ("Total On-Chip Power (W)", "Dynamic (W)", "Device Static (W)")
    missing = [name for name in needed if name not in found]
    require(not missing, "vivado", f"must report {', '.join(missing)}, has not", "look at its log")
    return found


def _run(program: str, work: Path) -> None:
    command = [program, "-mode", "batch", "-source", "power.tcl", "-nojournal"]
    done = subprocess.run(command, cwd=work, capture_output=True, text=True, errors="replace", check=False)
    finished("vivado", "on power.tcl", done.returncode, done.stdout[-4000:] + done.stderr, "correct what it names")
