"""What several commands print of a build: layers, energy, where the cycles go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hwseg.commands.terminal import console

if TYPE_CHECKING:
    from hwseg.compile.explain import Explanation

LEAST_SHARE = 0.005
"""Of a layer's cycles: what is less is not shown."""


def show_explanations(rows: Sequence[Explanation]) -> None:
    """Shares of each layer's cycles on the terminal; layers of one chain have the same number."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    for name in ("chain", "rows", "busy", "lanes"):
        table.add_column(name, justify="right")
    table.add_column("lost to")
    table.add_column("bound by")
    table.add_column("what would help", overflow="fold")
    for row in rows:
        lost = sorted(((share, cause) for cause, share in row.shares.items() if cause != "compute"), reverse=True)
        table.add_row(
            row.layer,
            str(row.chain) if row.fused else "",
            str(row.rows),
            f"{100 * row.shares['compute']:.0f} %",
            f"{100 * row.lanes:.0f} %",
            ", ".join(f"{cause} {100 * share:.0f} %" for share, cause in lost[:2] if share >= LEAST_SHARE),
            row.bound,
            row.help,
        )
    console().print(table)


def show(report: Mapping[str, Any]) -> None:
    """Layers and totals on the terminal."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column("operation")
    for name in ("output", "planes", "cycles", "utilization", "KB moved", "GOPS"):
        table.add_column(name, justify="right")
    for row in report["layers"]:
        if "output_shape" not in row:
            table.add_row(row["name"], "", "", "", f"{row['cycles']:,}", "", "", "")
            continue
        table.add_row(
            row["name"],
            row["op"],
            "x".join(map(str, row["output_shape"])),
            str(row["planes"]),
            f"{row['cycles']:,}",
            f"{100 * row['utilization']:.0f} %",
            f"{row['ddr_bytes'] / 1e3:,.1f}",
            f"{row['gops']:.1f}",
        )
    out, totals = console(), report["totals"]
    out.print(table)
    out.print(
        f"{report['array']} at {report['clock_mhz']:g} MHz: {totals['cycles']:,} cycles, "
        f"{totals['latency_ms']:.3f} ms, {totals['fps']:.1f} frames/s, {totals['gops']:.1f} GOPS, "
        f"{100 * totals['utilization']:.0f} % of peak"
    )
    used = []
    for name, row in report["resources"].items():
        value, kind = (row["estimated"], "estimated") if row["measured"] is None else (row["measured"], "measured")
        used.append(f"{name.upper()} {value:,} of {row['available']:,} ({kind})")
    out.print(", ".join(used))
    for sentence in report["warnings"]:
        out.print(sentence, style="yellow")
    for name, count in report["inexact"].items():
        out.print(f"{name}: {count} steps differ from the exact ones")


def show_energy(report: Mapping[str, Any], boundary: str) -> None:
    """Energy of each layer at one boundary on the terminal."""
    from rich.table import Table

    from hwseg.report.energy import band_text

    table = Table(box=None, pad_edge=False)
    table.add_column("layer", overflow="fold")
    table.add_column(f"mJ ({boundary})", justify="right")
    table.add_column("GOPS/W", justify="right")
    for row in report["layers"]:
        efficiency = band_text(row["gops_per_w"][boundary]) if row["macs"] else ""
        table.add_row(row["name"], band_text(row["energy_mj"][boundary]), efficiency)
    console().print(table)


def show_energy_of_frame(report: Mapping[str, Any]) -> None:
    """Energy of the frame at every boundary on the terminal."""
    from rich.table import Table

    from hwseg.power.band import BOUNDARIES
    from hwseg.report.energy import band_text

    out = console()
    totals = Table(box=None, pad_edge=False)
    totals.add_column("boundary")
    for name in ("mJ per frame", "W", "GOPS/W"):
        totals.add_column(name, justify="right")
    for name in BOUNDARIES:
        totals.add_row(name, *(band_text(report["totals"][key][name]) for key in ("energy_mj", "watts", "gops_per_w")))
    out.print(totals)
    out.print(f"energy is estimated; activity: {report['energy']['activity_source']}", highlight=False)
