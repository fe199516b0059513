"""The AXI3 bridge between cocotbext-axi's manager and its registers: bursts, IDs, narrow accesses, pauses, refusals."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hwseg.boards.zynq7020.axi3 import Axi3ToLite
from hwseg.rtl.emit import verilog

pytestmark = [pytest.mark.verilator]

SERVE = """
import sys
from pathlib import Path
from hwseg.sim.build import build_bench, run_cocotb
work, bench = Path(sys.argv[1]), Path(sys.argv[2])
simulator = build_bench("bridge_bench", [bench, work / "bridge.v"], ())
results = str(work / "results.json")
run_cocotb(simulator, "bridge_bench", "tests.boards.bridge_campaign", work, (), HWSEG_RESULTS=results)
"""


def test_bursts_ids_narrow_accesses_pauses_and_refusals(tmp_path):
    pytest.importorskip("cocotbext.axi")
    (tmp_path / "bridge.v").write_text(verilog(Axi3ToLite(), "bridge"))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(tmp_path), str(Path(__file__).with_name("bridge_bench.v"))],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (tmp_path / "results.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    assert json.loads((tmp_path / "results.json").read_text()) == {"failures": []}
