"""What became of one network in one tool, told by the process that ran it, and the table of all."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from benchmarks.measure import table
from hwseg.errors import HwsegError, require
from hwseg.files import parsed_json, read_file

SHORT = 160
"""Characters of a refusal that are told."""
COMPILER = "g++"
"""The stage whose refusal is in the compiler's words."""
OUTCOMES = ("estimated", "converted", "refused", "crashed", "unfinished")

KINDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("stage", "said", "version", "exact"), (str,)),
    **dict.fromkeys(("cycles", "latency", "lut", "dsp"), (int, type(None))),
    **{"bram36": (int, float, type(None)), "fits": (bool, type(None)), "seconds": (int, float)},
}
"""Of a finding's entries, in JSON."""


@dataclass(frozen=True)
class Finding:
    """One network in one tool.

    outcome: "estimated" (figures), "converted" (a project was written, no figures), "refused" (by the tool, in the
    words of `said`, at `stage`), "crashed" (its process died) or "unfinished" (its time was up).
    cycles: between two pictures at full speed.  latency: cycles of one picture.  bram36: block RAMs of 36 Kbit.
    exact: what the tool's own simulation says against the QONNX executor, empty if there is none.
    """

    network: str
    tool: str
    outcome: str
    stage: str = ""
    said: str = ""
    version: str = ""
    cycles: int | None = None
    latency: int | None = None
    lut: int | None = None
    bram36: float | None = None
    dsp: int | None = None
    fits: bool | None = None
    exact: str = ""
    seconds: float = 0.0


def read(path: Path, network: str, tool: str, status: int | None, seconds: float) -> Finding:
    """What a process left in `path`; without a whole file, its end is the finding.

    status: its exit status, negative for a signal, None where it was stopped because its time was up.
    """
    if status is None:
        return Finding(network, tool, "unfinished", said=f"more than {seconds:.0f} s", seconds=seconds)
    known = {field.name for field in fields(Finding)} - {"network", "tool", "seconds"}
    try:
        told = json.loads(path.read_text())
        found = Finding(network, tool, seconds=seconds, **{k: v for k, v in told.items() if k in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return Finding(network, tool, "crashed", said=_end(status), seconds=seconds)
    if found.outcome not in OUTCOMES:
        return Finding(network, tool, "crashed", said=f"told {found.outcome!r}", seconds=seconds)
    return found


def known(path: Path, networks: Sequence[str], tools: Sequence[str]) -> list[Finding]:
    """What an earlier run has written; HwsegError for what this benchmark does not write."""
    if not os.path.lexists(path):
        return []
    cure = "remove it, or name another with --json"
    rows = parsed_json(read_file(path), str(path), cure)
    try:
        findings = [Finding(**row) for row in rows]
    except TypeError as error:
        raise HwsegError(str(path), f"must be what this benchmark writes: {error}", cure) from error
    for found in findings:
        rule = f"must be what this benchmark writes, has {found.tool!r} on {found.network!r}"
        require(found.network in networks and found.tool in tools, str(path), rule, cure)
        for name, kinds in KINDS.items():
            value = getattr(found, name)
            rule = f"must be what this benchmark writes, has {name} {value!r}"
            require(type(value) in kinds, str(path), rule, cure)
        rule = f"must be what this benchmark writes, has outcome {found.outcome!r}"
        require(found.outcome in OUTCOMES, str(path), rule, cure)
    return findings


def is_done(found: Finding, seconds: int) -> bool:
    """Whether a tool need not run again: what was not finished may be with more time."""
    return found.outcome != "unfinished" or found.seconds >= seconds


def _end(status: int) -> str:
    if status < 0:
        return f"ended by {signal.Signals(-status).name}"
    return f"ended with status {status} and told nothing"


def first_line(text: str, most: int = SHORT) -> str:
    """The first line that says something, shortened at a word, fit for a cell of a table."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "no message")
    line = line.replace("|", "/")
    if len(line) <= most:
        return line
    return line[: most - 3].rsplit(" ", 1)[0] + "..."


def compiler_error(output: str) -> str:
    """What a compiler said first, without the place; empty if it said no error."""
    lines = (line.partition(" error: ")[2] for line in output.splitlines())
    return next((f"error: {line.strip()}" for line in lines if line), "")


def report(findings: Sequence[Finding]) -> str:
    """Markdown: a line for each network and tool, and the words of the refusals below."""
    notes: dict[str, int] = {}
    rows = [[f.network, f.tool, _outcome(f, notes), *_figures(f)] for f in findings]
    head = ["network", "tool", "outcome", "cycles", "latency", "LUT", "BRAM36", "DSP", "fits", "against QONNX"]
    text = table(head, rows)
    if notes:
        text += "\n\n" + table(["", "in these words"], [[str(n), said] for said, n in notes.items()])
    return text


def _outcome(found: Finding, notes: dict[str, int]) -> str:
    if not found.said:
        return found.outcome
    said = f"{found.stage}: {found.said}" if found.stage else found.said
    return f"{found.outcome} ({notes.setdefault(first_line(said), len(notes) + 1)})"


def _figures(found: Finding) -> list[str]:
    numbers = [found.cycles, found.latency, found.lut, found.bram36, found.dsp]
    fits = "" if found.fits is None else "yes" if found.fits else "no"
    return [*("" if n is None else f"{n:,}" for n in numbers), fits, found.exact]
