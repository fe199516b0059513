"""A build compiled again for another clock: its programs are paced anew, everything else that was chosen stays."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwseg.boards import GENERIC
from hwseg.builds.build import Build, compile_model
from hwseg.builds.energy import CALIBRATION, stored_picture
from hwseg.builds.read import read_report
from hwseg.compile.program import Progress, silent
from hwseg.errors import require
from hwseg.files import read_regular
from hwseg.pictures.choice import CHOSEN
from hwseg.rtl.config import parse_array
from hwseg.target.engine_text import engine_verilog


def require_same_engine(build: Path) -> None:
    """Refuse a build whose gates this hwseg would not write: compiled again it would have another engine."""
    config = parse_array(str(read_report(build)["array"]))
    same = read_regular(build / "top.v") == engine_verilog(config).encode()
    require(same, str(build), "was compiled by another hwseg, whose engine is not this one's", "compile it again")


def compiled_at(build: Path, clock_mhz: float, out: Path, note: str = "", progress: Progress = silent) -> Build:
    """`compile_model` with all that the build was compiled with, but the clock, into `out`/build.

    note: a warning for its report.
    """
    report = read_report(build)
    model = out / "model" / f"{report['model']}.onnx"
    model.parent.mkdir(parents=True, exist_ok=True)
    model.write_bytes(read_regular(build / "model.onnx"))
    own, chosen = build / GENERIC, report.get("input", {})
    return compile_model(
        model,
        str(own) if own.is_file() else str(report["board"]),
        clock_mhz,
        str(report["array"]),
        out=out / "build",
        allow_inexact=bool(report.get("inexact")),
        planes=int(report.get("planes", 8)),
        calibrate=stored_picture(build) if (build / CALIBRATION).is_file() else None,
        meaning=str(chosen["meaning"]) if chosen.get("origin") == CHOSEN else "",
        progress=progress,
        measured=_measured(report),
        note=note,
    )


def _measured(report: Mapping[str, Any]) -> dict[str, float] | None:
    found = {name: row["measured"] for name, row in report["resources"].items()}
    return None if None in found.values() else found
