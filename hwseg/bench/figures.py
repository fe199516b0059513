"""The core benchmark as a document: JSON, a section of Markdown, a picture."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from hwseg import golden, models
from hwseg.bench import route
from hwseg.bench.activations import Layer, planes
from hwseg.bench.activations import layers as layers_of
from hwseg.bench.cores import GATED_LANES, PAPER, Figures, Say, gating
from hwseg.errors import HwsegError, require
from hwseg.files import write_whole
from hwseg.pictures.raster import raster
from hwseg.pictures.source import integers, read_input
from hwseg.toolchain import yosys

MODEL = "nuclei-w8a8"
BEGIN, END = "<!-- cores: begin -->", "<!-- cores: end -->"


def layers(image: Path | None) -> list[Layer]:
    """Convolutions of the shipped network with their activations on a picture, by default the demo's."""
    from hwseg.quant.read.load import load

    graph = load(models.path(MODEL))
    if image is not None:
        q = read_input(image, graph, "crop")
    else:
        from hwseg import demo

        q = integers(raster(demo.nuclei().crop(*demo.CROP).pixels, "demo"), graph, "crop")
    return list(layers_of(graph, dict(golden.run(graph, q).tensors)))


def typical(found: Sequence[Layer], lanes: int) -> Layer:
    """The narrowest convolution that fills the lanes, of those the one with the most work."""
    wide = [layer for layer in found if layer.weights.shape[1] >= lanes]
    widest = max(layer.weights.shape[1] for layer in found)
    require(bool(wide), "--lanes", f"must be at most {widest}, the widest window of {MODEL}")
    return min(wide, key=lambda layer: (layer.weights.shape[1], -layer.macs))


def document(figures: Sequence[Figures], found: Sequence[Layer], layer: Layer, say: Say) -> dict[str, Any]:
    measured = []
    for number, one in enumerate(found):
        say(f"{number + 1}/{len(found)} {one.name}")
        every, gated = gating(one)
        toggles = {"toggles_per_mac": every, "toggles_per_mac_gated": gated}
        measured.append(asdict(planes(one)) | {"macs": one.macs} | toggles)
    return {
        "model": MODEL,
        "layer": layer.name,
        "yosys": yosys.version(),
        "nextpnr_ecp5": route.version(),
        "cores": [asdict(one) for one in figures],
        "planes": measured,
        "ratios": ratios(figures),
    }


def ratios(figures: Sequence[Figures]) -> list[dict[str, Any]]:
    """Cycles and area-time of each rival, over those of the merged core and of the table core."""
    rows = []
    for lanes, bits in sorted({(f.lanes, f.weight_bits) for f in figures}):
        by_name = {f.core: f for f in figures if (f.lanes, f.weight_bits) == (lanes, bits)}
        for name, f in by_name.items():
            merged, table = by_name["merged"], by_name["table"]
            rows.append(
                {
                    "core": name,
                    "lanes": lanes,
                    "weight_bits": bits,
                    "paper": PAPER.get(name),
                    "cycles_over_merged": round(f.cycles / merged.cycles, 2),
                    "lut_cycles_over_merged": round(f.cycles * f.lut / (merged.cycles * merged.lut), 2),
                    "lut_cycles_over_table": round(f.cycles * f.lut / (table.cycles * table.lut), 2),
                }
            )
    return rows


def write_json(path: Path, found: Mapping[str, Any]) -> None:
    write_whole(path, (json.dumps(found, indent=1) + "\n").encode())


def write_section(path: Path, text: str, marks: tuple[str, str] = (BEGIN, END)) -> None:
    """Replace what stands between the marks, or add it at the end."""
    begin, end = marks
    old = path.read_text() if path.is_file() else "# Benchmarks\n"
    section = f"{begin}\n{text}\n{end}"
    if begin in old and end in old:
        head, rest = old.split(begin, 1)
        new = head + section + rest.split(end, 1)[1]
    else:
        new = f"{old.rstrip()}\n\n{section}\n"
    write_whole(path, new.encode())


def _table(head: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join("" if cell is None else str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def markdown(found: Mapping[str, Any]) -> str:
    """The section on cores."""
    rows = []
    for f in found["cores"]:
        per_lane = f"{f['lut'] / f['lanes']:.2f}"
        shared = f"{f['loader_lut']} / {f['encoder_lut']}"
        cycles = f"{f['cycles']:g} / {f['cycles_skipping']:.2f} / {f['cycles_early_exit']:.2f}"
        both = (f["toggles_per_mac"], f["toggles_per_mac_gated"])
        toggles = " / ".join(f"{value:.1f}" for value in both if value is not None)
        rows.append(
            [
                f["core"],
                f["lanes"],
                f["weight_bits"],
                f["lut"],
                per_lane,
                f["lutram"],
                f["ff"],
                f["carry4"],
                f["dsp"] or "",
                shared,
                cycles,
                f["macs_per_cycle_per_klut"],
                toggles,
                f"{f['dsp_steps_per_mac']:.2f}" if f["dsp"] else "",
                f["fmax_mhz"],
            ]
        )
    head = ["core", "lanes", "bits", "LUT", "per lane", "LUTRAM", "FF", "CARRY4", "DSP", "loader / encoder LUT"]
    head += [
        "cycles: dense / skipping / exit",
        "MAC/cycle/kLUT",
        "toggles/MAC: all / gated",
        "DSP steps/MAC",
        "MHz, ECP5",
    ]
    parts = [
        "## Cores",
        "`hwseg bench cores --markdown docs/benchmarks.md --plot docs/cores.png`: "
        f"yosys {found['yosys']} `synth_xilinx "
        f"-family xc7`; activations and weights of `{found['layer']}` of `{found['model']}` on the demo's picture, "
        "cut to lanes and bits. LUTs are counted one by one, without pairing small ones. Toggles: nets of the "
        "synthesized netlist, zero delays, "
        "each sum compared with the dot product; the inside of DSP slices is not seen, hence the column of their "
        "steps. A loader stands once per row of an array, an encoder once per pixel.",
        *_routed(found),
        _table(head, rows),
        "![LUTs per lane, and work per cycle and area](cores.png)",
        "### Against the ICECS 2025 paper",
        _table(
            [
                "core",
                "lanes",
                "bits",
                "paper: merged faster by",
                "cycles / merged",
                "LUT x cycles / merged",
                "LUT x cycles / table",
            ],
            [
                [
                    r["core"],
                    r["lanes"],
                    r["weight_bits"],
                    r["paper"],
                    r["cycles_over_merged"],
                    r["lut_cycles_over_merged"],
                    r["lut_cycles_over_table"],
                ]
                for r in found["ratios"]
            ],
        ),
        RATIOS_EXPLAINED,
        "### What leading planes and early exits save",
        "Planes per output, whole windows of each convolution, bias and saturation included; lockstep: 16 channels x 8 "
        "pixels step together. Growth: mean K of the real weights of each output channel, and K of the word length. "
        f"Toggles: per multiply-accumulate of a table core on the first {GATED_LANES} lanes at most, every plane "
        "executed, and with the core held once ReLU has decided.",
        _table(
            [
                "layer",
                "lanes",
                "planes",
                "skipping",
                "exit",
                "both",
                "lockstep, skipping",
                "lockstep, exit",
                "growth K",
                "K of words",
                "toggles/MAC",
                "gated",
            ],
            [
                [p["layer"], p["lanes"], f"{p['dense']:g}"]
                + [
                    f"{p[k]:.2f}"
                    for k in ("skipping", "early_exit", "both", "lockstep_skipping", "lockstep_exit", "growth")
                ]
                + [p["growth_of_words"], f"{p['toggles_per_mac']:.1f}", f"{p['toggles_per_mac_gated']:.1f}"]
                for p in found["planes"]
            ],
        ),
        _summary(found["planes"]),
    ]
    return "\n\n".join(parts)


RATIOS_EXPLAINED = """\
The paper's ratios are for its own cores at its own equal conditions, which are not rebuilt here; ours are
cycles and LUTs of one core. What can explain each difference:

- **bit-parallel, 1.07.** A DSP per lane and a sum per cycle: fewer cycles than any serial core, but the part
  has 220 DSP slices, three 72-lane cores. LUT x cycles leaves the DSP slices out of the price.
- **bit-serial, 4.36.** With parallel weights and no drain, ours takes exactly as many cycles as the merged
  core, in about as many LUTs. A core with serial weights as well takes B times as many cycles.
- **cascaded, 2.52.** Online multipliers and adders pay their online delays: B + K + levels cycles per output
  instead of B. A merged core that drains B + K digits is ahead by less than ours, which captures after B.
- **table, table_dsp.** Not in the paper: the merged core's cycles at a quarter of its LUTs, and at a fifth with a
  DSP slice as accumulator."""


def _routed(found: Mapping[str, Any]) -> list[str]:
    """How clocks were found, and the critical paths of the widest cores; nothing if none was."""
    routed = [f for f in found["cores"] if f["slowest_path"]]
    if not routed:
        return []
    most = max((f["weight_bits"], f["lanes"]) for f in routed)
    lines = [f"- {f['core']}: {f['slowest_path']}" for f in routed if (f["weight_bits"], f["lanes"]) == most]
    how = (
        "MHz: the core alone, with registers at its ports, after place and route on an ECP5-85F, speed grade 6 (yosys "
        f"`synth_ecp5`, nextpnr-ecp5 {found['nextpnr_ecp5']}), where `--route` asked for it. Clocks compare with each "
        "other, and are not those of a Zynq: that device has LUTs of four inputs, and no slice like the DSP48E1, which "
        "`table_dsp` has there in LUTs."
    )
    return [how, f"Slowest paths of {most[1]} lanes, {most[0]} bits:", "\n".join(lines)]


def _summary(measured: Sequence[Mapping[str, Any]]) -> str:
    macs = np.array([p["macs"] for p in measured], float)
    mean = {
        k: float((macs * [p[k] for p in measured]).sum() / macs.sum())
        for k in (
            "dense",
            "skipping",
            "early_exit",
            "both",
            "lockstep_skipping",
            "lockstep_exit",
            "toggles_per_mac",
            "toggles_per_mac_gated",
        )
    }
    saved = 100 - 100 * mean["toggles_per_mac_gated"] / mean["toggles_per_mac"]
    return (
        f"Weighted by work: {mean['dense'] / mean['skipping']:.2f} times fewer planes by skipping alone, "
        f"{mean['dense'] - mean['early_exit']:.2f} of {mean['dense']:.1f} planes by early exit alone, "
        f"{mean['dense'] / mean['both']:.2f} times by both, for one core by itself; in lockstep "
        f"{mean['dense'] / mean['lockstep_skipping']:.2f} times by skipping and "
        f"{mean['dense'] - mean['lockstep_exit']:.2f} planes by early exit. Holding decided cores saves "
        f"{saved:.0f} % of the toggles."
    )


def plot(path: Path, found: Mapping[str, Any]) -> None:
    """LUTs per lane and multiply-accumulates per cycle per thousand LUTs."""
    try:
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator
    except ImportError as error:
        raise HwsegError("--plot", "needs matplotlib", "pip install 'hwseg[synth]'") from error
    shapes = sorted({(f["lanes"], f["weight_bits"]) for f in found["cores"]})
    names = list(dict.fromkeys(f["core"] for f in found["cores"]))
    figure = Figure(figsize=(10, 4), layout="constrained")
    for axes, title in zip(figure.subplots(1, 2), ("LUT per lane", "MAC per cycle per kLUT"), strict=True):
        for n, name in enumerate(names):
            by_shape = {
                (f["lanes"], f["weight_bits"]): f["lut"] / f["lanes"]
                if title == "LUT per lane"
                else f["macs_per_cycle_per_klut"]
                for f in found["cores"]
                if f["core"] == name
            }
            width = 0.8 / len(names)
            at = np.arange(len(shapes)) + (n - (len(names) - 1) / 2) * width
            axes.bar(at, [by_shape.get(shape, 0) for shape in shapes], width, label=name)
        axes.set_xticks(range(len(shapes)), [f"{lanes} x\n{bits} bit" for lanes, bits in shapes])
        axes.set_title(title)
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    figure.legend(*figure.axes[0].get_legend_handles_labels(), fontsize=8, ncols=len(names), loc="outside upper center")
    figure.savefig(path, dpi=110, metadata={"Software": None})
