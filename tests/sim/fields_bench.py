"""The cocotb side: one program after the other on the same engine, whose memories keep what the one before left."""

import json
import logging
import os
import shutil
from pathlib import Path

import cocotb

from hwseg.sim.run_bench import driven, start_bench


@cocotb.test()
async def run(dut):
    logging.getLogger("cocotb").setLevel(logging.WARNING)
    work = Path(os.environ["HWSEG_FIELDS"])
    master = start_bench(dut)
    for job in json.loads((work / "jobs.json").read_text()):
        folder = work / job["name"]
        shutil.copyfile(folder / "image.bin", work / "image.bin")
        results = await driven(dut, master, job | {"progress": str(work / "progress")})
        (work / "dump.hex").rename(folder / "dump.hex")
        (folder / "results.json").write_text(json.dumps(results))
