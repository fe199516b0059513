"""report.md and report.csv, from report.json."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hwseg.clock.timing import STARTUP
from hwseg.errors import printable
from hwseg.power.band import BOUNDARIES
from hwseg.report.energy import BOUNDARY_TEXTS, DEFAULT_BOUNDARY, band_text, has_energy
from hwseg.report.pages.draw import three

Report = Mapping[str, Any]

PLAIN = ("name", "op", "macs", "planes", "skipped_planes", "cycles", "utilization", "gops", "ddr_bytes")
BANDED = ("energy_mj", "gops_per_w")
ENDS = ("low", "mid", "high")
LONGEST = 1000
"""Characters of a name or a sentence."""


def csv_text(report: Report) -> str:
    """One line per layer, start-up first, and one for the whole frame; bands in columns of their own."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    banded = [(key, b, end) for key in BANDED for b in BOUNDARIES for end in ENDS] if has_energy(report) else []
    writer.writerow([*PLAIN, *("_".join(column) for column in banded)])
    for row in (*report["layers"], report["totals"]):
        plain = ["" if row.get(key) is None else row[key] for key in PLAIN]
        writer.writerow([*plain, *(row[key][boundary][end] for key, boundary, end in banded)])
    return buffer.getvalue()


def markdown(report: Report, boundary: str = DEFAULT_BOUNDARY) -> str:
    """report.md; energy per layer at one boundary, of the frame at all."""
    totals, energetic = report["totals"], has_energy(report)
    lines = [
        f"# {plain(report['model'])} on {report['board']}",
        "",
        f"Array {report['array']} at {report['clock_mhz']:g} MHz: {totals['cycles']:,} cycles, "
        f"{totals['latency_ms']:.3f} ms, {totals['fps']:.1f} frames/s, {totals['gops']:.1f} GOPS "
        f"({100 * totals['utilization']:.0f} % of peak), "
        f"{totals['ddr_bytes'] / 1e6:.2f} MB moved per frame.",
        "",
    ]
    if report.get("input", {}).get("origin") in ("file", "--input"):
        said = str(report["input"]["sentence"])
        lines += [f"{said[:1].upper()}{said[1:]}.", ""]
    if energetic:
        lines += [*_energy(report), ""]
    if "vivado" in report:
        lines += [f"{report['vivado']['told']}.", ""]
    more = f" mJ | GOPS/W ({boundary}) |" if energetic else ""
    lines += [
        "| layer | operation | output | planes | MACs | cycles | utilization | KB moved | GOPS | bound |" + more,
        "|---|---|---|--:|--:|--:|--:|--:|--:|---|" + ("--:|--:|" if energetic else ""),
    ]
    lines += [_row(row, boundary if energetic else None) for row in report["layers"]]
    lines += ["", "| resource | estimated | measured | available |", "|---|--:|--:|--:|"]
    for name, row in report["resources"].items():
        measured = "" if row["measured"] is None else f"{row['measured']:,}"
        lines.append(f"| {name.upper()} | {row['estimated']:,} | {measured} | {row['available']:,} |")
    lines += [line for sentence in report["warnings"] for line in ("", f"{plain(sentence)}.")]
    for name, count in report["inexact"].items():
        lines += ["", f"{plain(name)}: {count} requantization steps or pairs differ from the exact ones."]
    return "\n".join(lines) + "\n"


def _row(row: Report, boundary: str | None) -> str:
    if row["op"] == STARTUP:
        cells = [STARTUP, "", "", "", "", f"{row['cycles']:,}", "", "", "", ""]
    else:
        cells = [
            row["name"],
            row["op"],
            "x".join(map(str, row["output_shape"])),
            str(row["planes"]),
            f"{row['macs']:,}",
            f"{row['cycles']:,}",
            f"{100 * row['utilization']:.0f} %",
            f"{row['ddr_bytes'] / 1e3:,.1f}",
            f"{row['gops']:.1f}",
            row["bound"],
        ]
    if boundary is not None:
        cells += [band_text(row["energy_mj"][boundary])]
        cells += [three(row["gops_per_w"][boundary]["mid"]) if row["macs"] else ""]
    return table_row(cells)


def table_row(cells: Sequence[str]) -> str:
    """Names may hold anything: a bar would end the cell, a line break the table."""
    return "| " + " | ".join(map(plain, cells)) + " |"


def plain(text: str) -> str:
    """Text that Markdown shows as it is: no markup, no HTML, no link, no line break; `_` within a word is none."""
    line = printable(text, LONGEST)
    return re.sub(r"[\\`*<>\[\]|&~$#]|(?<![^\W_])_|_(?![^\W_])", lambda match: f"\\{match[0]}", line)


def _energy(report: Report) -> Iterator[str]:
    totals, energy = report["totals"], report["energy"]
    yield "| boundary | what is inside | mJ per frame | W | GOPS/W |"
    yield "|---|---|--:|--:|--:|"
    for boundary in BOUNDARIES:
        bands = (totals[key][boundary] for key in ("energy_mj", "watts", "gops_per_w"))
        cells = " | ".join(band_text(band) for band in bands)
        yield f"| {boundary} | {BOUNDARY_TEXTS[boundary]} | {cells} |"
    yield ""
    yield (
        f"Estimated, with error bands, at {energy['temperature_c']:g} degrees Celsius. Activity: "
        f"{energy['activity_source']}. Coefficients: {energy['coefficients_sha256'][:12]}."
    )
