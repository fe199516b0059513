"""A campaign in words: what was drawn, refused, covered."""

from __future__ import annotations

from collections.abc import Iterable

from tests.fuzz.campaign import Record
from tests.fuzz.coverage import DETAILS, MODES, Coverage, widths
from tests.fuzz.draw import OPERATIONS, PAIRS, THROUGH, supported


def summary(record: Record, seconds: float) -> str:
    """Everything, in Markdown."""
    loaded, compiled = record.accepted
    lines = [
        f"{record.graphs:,} graphs drawn, {100 * loaded:.1f} % accepted by the loader; {record.asked:,} compiled, "
        f"{100 * compiled:.1f} % accepted by the compiler; {record.programs:,} programs on the machine, "
        f"{record.simulated:,} in Verilog, on {len(record.coverage.arrays)} arrays.",
        f"{len(record.findings)} differences. {seconds:,.0f} s.",
        "",
        *table(("refused", "reason"), ((count, name) for name, count in record.reasons.most_common())),
        "",
        *pairs(record.coverage),
        "",
        *table(("function, output", "graphs"), ((name, record.coverage.details[name]) for name in DETAILS)),
        "",
        *table(("mode", "programs"), ((name, record.coverage.modes[name]) for name in MODES)),
        "",
        *fields(record.coverage),
        "",
        "Arrays: " + ", ".join(f"{name} {count}" for name, count in record.coverage.arrays.most_common()) + ".",
    ]
    return "\n".join(lines)


def table(head: tuple[str, ...], rows: Iterable[tuple[object, ...]]) -> list[str]:
    lines = [" | ".join(map(str, row)) for row in rows]
    return [f"| {line} |" for line in (" | ".join(head), " | ".join("---" for _ in head), *lines)] if lines else []


def pairs(coverage: Coverage) -> list[str]:
    """How often the operation of a column read that of a row; what cannot be is left empty."""
    names = list(OPERATIONS)
    rows = (
        (first, *(coverage.pairs[first, second] if supported(first, second) else "" for second in names))
        for first in names
    )
    covered = sum(pair in coverage.pairs for pair in PAIRS)
    across = sum(pair in coverage.through for pair in THROUGH)
    return [
        f"Pairs in sequence: {covered} of {len(PAIRS)}; with a quantizer between: {across} of {len(THROUGH)}.",
        "",
        *table(("read by", *names), rows),
    ]


def fields(coverage: Coverage) -> list[str]:
    """Smallest and largest value of every field, a row for each instruction; in brackets the field's bits."""
    rows: dict[str, list[str]] = {}
    for (name, key), width in widths().items():
        low, high = coverage.fields.get((name, key), ("never", "never"))
        if low != high or low == "never":
            rows.setdefault(name, []).append(f"{key} ({width}) {low}..{high}")
        else:
            rows.setdefault(name, []).append(f"{key} ({width}) {low}")
    return table(("instruction", "fields"), ((name, ", ".join(found)) for name, found in rows.items()))
