"""The energy benchmark as a document: JSON, and the section of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hwseg.bench.cores import Say
from hwseg.bench.energy import LANES, PAPER_GOPS_PER_W, PAPER_SPEED, PAPER_WATTS, Rival, Work, compare, paper
from hwseg.bench.energy_unet import SIZE
from hwseg.bench.energy_work import ARRAY, NETWORKS, Case, case, paper_case
from hwseg.energy.frame import activity_of_program
from hwseg.machine.activity import skipping
from hwseg.power.band import BOUNDARIES, Band
from hwseg.power.coefficients import Coefficients
from hwseg.power.estimate import TEMPERATURE, EnergyReport, estimate
from hwseg.toolchain import yosys

MARKS = "<!-- energy: begin -->", "<!-- energy: end -->"
CLOCK_MHZ = 150.0
BITS = (8, 4)
TARGETS = {
    "8 bits, PL, middle": ("unet16-8bit", "pl", "mid", 160.0),
    "4 bits, PL, middle": ("unet16-4bit", "pl", "mid", 290.0),
    "8 bits, PL and PS and DDR, middle": ("unet16-8bit", "pl_ps", "mid", 75.0),
    "8 bits, PL and PS and DDR, pessimistic": ("unet16-8bit", "pl_ps", "low", 29.51),
}
"""Network, boundary, end of the band and the least GOPS/W that was aimed at."""
FULL = 256
"""Pixels of a side that fill words of 8 pixels at every level."""


def measure(coefficients: Coefficients, clock_mhz: float, rivals: bool, say: Say) -> dict[str, Any]:
    """Everything, as JSON's types.  rivals: with every core, minutes the first time."""
    cases = [paper_case(bits, size=size) for size in (SIZE, FULL) for bits in BITS] + [case(n) for n in NETWORKS]
    found: dict[str, Any] = {
        "clock_mhz": clock_mhz,
        "temperature_c": TEMPERATURE,
        "coefficients_sha256": coefficients.sha256,
        "array": ARRAY,
        "yosys": yosys.version(),
        "networks": [],
        "skipping": [],
        "rivals": [],
    }
    for one in cases:
        say(f"{one.name} on {ARRAY}")
        activity = activity_of_program(one.program, [one.tensors], "full", full=True)
        found["networks"].append(network_row(one, estimate(activity, coefficients, clock_mhz)))
        left = skipping(one.program, one.tensors[one.program.graph.input])
        activity = activity_of_program(one.program, [one.tensors], "full", full=True, skipping=left)
        row = network_row(one, estimate(activity, coefficients, clock_mhz))
        planes = [sum(column) for column in zip(*left.planes.values(), strict=True)]
        found["skipping"].append(row | {"left_out": planes[1] / planes[0]})
    if rivals:
        works = {name: Work.of(next(c for c in cases if c.name == name)) for name in ("unet16-8bit", *NETWORKS)}
        for work in works.values():
            found["rivals"] += [rival_row(r) for r in compare(work, coefficients, clock_mhz, say)]
        found["paper"] = rival_row(paper(works["unet16-8bit"], coefficients))
    return found


def network_row(one: Case, report: EnergyReport) -> dict[str, Any]:
    """One network on the default array."""
    total = report.total
    row = {"network": one.name, "macs": total.macs, "cycles": total.cycles, "gops": gops(report)}
    return row | energies(report) | {"parts_w": {p: b.mid * per_second(report) for p, b in total.parts.items()}}


def rival_row(r: Rival) -> dict[str, Any]:
    """One core on one network."""
    row = {"core": r.core, "network": r.network, "cores": round(r.cores, 2), "cycles": round(r.cycles, 2)}
    return row | {"lut": round(r.lut, 1), "dsp": r.dsp, "gops": r.gops} | energies(r.report)


def energies(report: EnergyReport) -> dict[str, Any]:
    """By boundary: energy of a frame, mean power, GOPS/W."""
    total = report.total
    return {
        "energy_mj": {b: total.energy_mj[b].json() for b in BOUNDARIES},
        "watts": {b: report.watts(b).json() for b in BOUNDARIES},
        "gops_per_w": {b: total.gops_per_w[b].json() for b in BOUNDARIES},
    }


def gops(report: EnergyReport) -> float:
    """Sustained."""
    return 2 * report.total.macs / report.total.cycles * report.clock_mhz / 1e3


def per_second(report: EnergyReport) -> float:
    """Frames per second over 1000: mJ to W."""
    return report.clock_mhz * 1e3 / report.total.cycles


def band(values: Mapping[str, float], digits: int = 0) -> str:
    """middle (low to high)."""
    one = Band(values["low"], values["mid"], values["high"])
    return f"{one.mid:.{digits}f} ({one.low:.{digits}f} to {one.high:.{digits}f})"


def table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(map(str, row)) + " |" for row in rows])


def markdown(found: Mapping[str, Any]) -> str:
    """The section on energy."""
    lines = [
        "## Energy",
        "",
        f"`hwseg bench energy --markdown docs/benchmarks.md`: array {found['array']} at {found['clock_mhz']:g} MHz, "
        f"junction at {found['temperature_c']:g} degrees Celsius, dense execution, coefficients "
        f"`{found['coefficients_sha256'][:12]}`, yosys {found['yosys']}. Everything is estimated, nothing measured on "
        "silicon; middle values with the whole band in brackets. What the boundaries hold, where the coefficients come "
        "from and what is counted: [energy.md](energy.md). GOPS: 2 per multiply-accumulate.",
        "",
        f"unet16: a U-Net of about the ICECS 2025 paper's work ({SIZE}x{SIZE} pixels), with drawn weights of 8 or 4 "
        f"bits, on the demo's picture, and the same at {FULL}x{FULL}, which fills the array's words of 8 pixels at "
        "every level; nuclei: the shipped, trained networks on it.",
        "",
        "GOPS/W at each boundary:",
        "",
        table(
            ("network", "GMAC", "GOPS", *BOUNDARIES),
            [
                (
                    n["network"],
                    f"{n['macs'] / 1e9:.3f}",
                    f"{n['gops']:.0f}",
                    *(band(n["gops_per_w"][b]) for b in BOUNDARIES),
                )
                for n in found["networks"]
            ],
        ),
        "",
        "Energy of a frame in mJ:",
        "",
        table(
            ("network", *BOUNDARIES),
            [(n["network"], *(band(n["energy_mj"][b], 2) for b in BOUNDARIES)) for n in found["networks"]],
        ),
        "",
        "Against what was aimed at:",
        "",
        table(("figure", "aim, GOPS/W", f"at {SIZE}x{SIZE}", f"at {FULL}x{FULL}"), target_rows(found)),
        "",
        "Where the power goes, middle values in W:",
        "",
        table(
            ("network", *found["networks"][0]["parts_w"]),
            [(n["network"], *(f"{v:.3f}" for v in n["parts_w"].values())) for n in found["networks"]],
        ),
    ]
    if found["skipping"]:
        lines += ["", *skipping_lines(found)]
    if found["rivals"]:
        lines += ["", *rival_lines(found)]
    return "\n".join(lines)


def skipping_lines(found: Mapping[str, Any]) -> list[str]:
    """The same with leading zero planes left out."""
    head = ("network", "planes left out", "fewer cycles", *(f"GOPS/W {b}" for b in BOUNDARIES))
    rows = []
    for dense, row in zip(found["networks"], found["skipping"], strict=True):
        cycles = 1 - row["cycles"] / dense["cycles"]
        efficiencies = (f"{row['gops_per_w'][b]['mid']:.1f}" for b in BOUNDARIES)
        rows.append((row["network"], f"{row['left_out']:.1%}", f"{cycles:.1%}", *efficiencies))
    return [
        "With leading zero planes left out (register `skip`), on the same pictures, middle values:",
        "",
        table(head, rows),
    ]


def target_rows(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Aims, told plainly."""
    by_name = {n["network"]: n for n in found["networks"]}
    rows: list[tuple[object, ...]] = []
    for words, (network, boundary, end, aim) in TARGETS.items():
        values = [by_name[name]["gops_per_w"][boundary][end] for name in (network, f"{network}-{FULL}")]
        rows.append((words, f"{aim:g}", *(f"{v:.1f}, {'reached' if v >= aim else 'missed'}" for v in values)))
    return rows


def rival_lines(found: Mapping[str, Any]) -> list[str]:
    """Every core on the same work, and the paper's own configuration."""
    first = [r for r in found["rivals"] if r["network"] == "unet16-8bit"]
    return [
        "### Rivals on the same work",
        "",
        f"Cores of {LANES} lanes, as many as fit into the share of the part that the default array's cores take (the "
        "largest of LUT and DSP fractions; cores have no block RAM), with their share of loaders and encoders, at the "
        "same clock and utilization. Around them the same engine. Events from each core's synthesized netlist on the "
        "network's own layers.",
        "",
        table(
            ("core", "cores", "cycles per product", "LUT, DSP", "GOPS", *(f"GOPS/W {b}" for b in BOUNDARIES)),
            [
                (
                    r["core"],
                    f"{r['cores']:.1f}",
                    f"{r['cycles']:.0f}",
                    f"{r['lut']:.0f}, {r['dsp']:g}",
                    f"{r['gops']:.1f}",
                    *(band(r["gops_per_w"][b], 1) for b in BOUNDARIES),
                )
                for r in first
            ],
        ),
        "",
        "Ratios at middle values, on each network; the last column is how much faster than each core the paper reports "
        "its merged core to be, at its own equal conditions.",
        "",
        table(
            ("network", "core", "table_dsp faster by", "GOPS/W pl / core's", "pl_ps", "merged faster by", "paper"),
            ratio_rows(found["rivals"]),
        ),
        "",
        "### The merged core at its own configuration",
        "",
        paper_text(found["paper"]),
    ]


def ratio_rows(rivals: Sequence[Mapping[str, Any]]) -> list[tuple[object, ...]]:
    """table_dsp and merged over every core."""
    rows: list[tuple[object, ...]] = []
    for network in dict.fromkeys(r["network"] for r in rivals):
        here = {r["core"]: r for r in rivals if r["network"] == network}
        best, merged = here["table_dsp"], here["merged"]
        for core, r in here.items():
            pl, ps = (best["gops_per_w"][b]["mid"] / r["gops_per_w"][b]["mid"] for b in ("pl", "pl_ps"))
            rows.append(
                (
                    network,
                    core,
                    f"{best['gops'] / r['gops']:.2f}",
                    f"{pl:.2f}",
                    f"{ps:.2f}",
                    f"{merged['gops'] / r['gops']:.2f}",
                    PAPER_SPEED.get(core, ""),
                )
            )
    return rows


def paper_text(row: Mapping[str, Any]) -> str:
    """The factor between our estimate and the published figure, and what explains it."""
    board, watts = row["gops_per_w"]["board"], row["watts"]
    factor = board["mid"] / PAPER_GOPS_PER_W
    above = "above" if factor > 1 else "below"
    within = "lies" if board["low"] <= PAPER_GOPS_PER_W <= board["high"] else "does not lie"
    around = watts["board"]["mid"] - watts["pl"]["mid"]
    return (
        f"At 100 MHz and 265 multiply-accumulates per cycle ({row['cores']:.1f} cores of {LANES} lanes, "
        f"{row['gops']:.1f} GOPS): {band(board, 1)} GOPS/W at the board, {band(watts['board'], 2)} W. "
        f"Published, measured at a board: {PAPER_GOPS_PER_W} GOPS/W at {PAPER_WATTS:.2f} W. **Factor {factor:.2f}**: "
        f"our middle is {above} the measurement, which {within} within the band. Of our "
        f"{watts['board']['mid']:.2f} W, the processing system, its memory and the board take "
        f"{around:.2f} W and the cores {watts['core']['mid']:.2f} W. "
        "What can explain the rest: their processing system ran an operating system and ours waits; one flat tree of "
        "hundreds of lanes, without registers after each level, has glitches that a simulation without delays does not "
        "see; digit selection and drain of a core that emits its digits, which ours does not pay."
    )


def write(path: Path, text: str) -> None:
    """Into the section `energy` of a file."""
    from hwseg.bench.figures import write_section

    write_section(path, text, MARKS)
