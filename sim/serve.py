"""One run of a simulator, in a process of its own: its signals and its output stay there.

    python -m hwseg.sim.serve ORDER      what `ordered` wrote: see `run_cocotb`

A module of its own, so that the process imports what cocotb's runner needs and no more.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from hwseg.sim.build import Simulator, run_cocotb

MODULE = "hwseg.sim.serve"


def ordered(
    simulator: Path, bench: str, module: str, work: Path, plusargs: Sequence[str], names: Mapping[str, str]
) -> Path:
    """The order of a run, written into `work`; what is in it is what `run_cocotb` takes."""
    order = {"simulator": str(simulator), "bench": bench, "module": module, "work": str(work)}
    path = work / "order.json"
    path.write_text(json.dumps({**order, "plusargs": list(plusargs), "names": dict(names)}))
    return path


def _serve(order: Path) -> None:
    job = json.loads(order.read_text())
    simulator = Simulator(Path(job["simulator"]), False)
    run_cocotb(simulator, job["bench"], job["module"], Path(job["work"]), job["plusargs"], **job["names"])


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
