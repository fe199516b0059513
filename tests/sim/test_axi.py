"""The engine on somebody else's AXI memory: pauses on every channel, error responses, a start while it runs."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwseg import golden
from hwseg.builds.build import compile_model
from hwseg.layout import HeadLayout, unpack_head
from hwseg.rtl.isa import LOAD, STORE, Opcode, Target
from hwseg.rtl.registers import (
    CAUSE_OUTSIDE,
    CAUSE_READ,
    CAUSE_STOPPED,
    CAUSE_WRITE,
    STATUS_BUSY,
    STATUS_DONE,
    STATUS_ERROR,
    STATUS_OVERRUN,
)
from hwseg.sim.simulate import memory_image
from tests.quant.models import random_image, random_unet

pytestmark = [pytest.mark.verilator]

BASE = 0x1F80
"""Not a multiple of 4 KB, so that transfers meet 4 KB boundaries in their middle."""

SERVE = """
import sys
from pathlib import Path
from hwseg.sim.build import build_axi_bench, run_cocotb
work, top = Path(sys.argv[1]), Path(sys.argv[2])
job = str(work / "job.json")
run_cocotb(build_axi_bench(top), "axi_bench", "tests.sim.axi_bench_faults", work, (), HWSEG_FAULTS=job)
"""


def wild_programs(program, image, work):
    """Memory images by name whose program has one transfer elsewhere: where, and how many words of how many runs.

    Addresses count from the window's beginning and go round at 4 GB, so that the last ones lie before it.
    """
    size = len(image) // 128 * 128
    place = program.memory.program_address
    words = np.frombuffer(program.program, "<u8").reshape(-1, 4)
    found = {}
    kinds = {"STORE": (Opcode.STORE, STORE, {}), "LOAD": (Opcode.LOAD, LOAD, {})}
    kinds["PAGE"] = (Opcode.LOAD, LOAD, {"target": Target.PROGRAM})
    for kind, (opcode, form, other) in kinds.items():
        number = next(
            i
            for i, row in enumerate(words.tolist())
            if row[0] & 15 == opcode and (opcode == Opcode.STORE or unpacked(LOAD, row)["target"] != Target.PROGRAM)
        )
        fields = unpacked(form, words[number].tolist()) | other
        for name, changed in {
            "behind": {"ddr": size},
            "across": {"ddr": size - 8, "run_words": 40},
            "far": {"ddr": 1 << 31},
            "before": {"ddr": (1 << 32) - 8},
            "long_before": {"ddr": (1 << 32) - 0x1000, "run_words": 16},
            "in_strides": {"ddr": size - 256, "run_words": 4, "runs": 9, "ddr_stride": 64},
            "back_in_strides": {"ddr": 0, "run_words": 1, "runs": 40, "ddr_stride": (1 << 24) - 8},
            "no_words": {"ddr": size - 8, "run_words": 0},
            "no_runs": {"ddr": size - 256, "runs": 0, "run_words": 4, "ddr_stride": 64},
        }.items():
            row = form.pack(**(fields | changed))
            content = bytearray(image)
            content[place + 32 * number : place + 32 * (number + 1)] = row.to_bytes(32, "little")
            path = work / f"{kind}_{name}.bin"
            path.write_bytes(content)
            found[f"{kind}_{name}"] = str(path)
    return found


def unpacked(form, row):
    return form.unpack(sum(word << 64 * i for i, word in enumerate(row)))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory):
    """Results of one campaign, and the head that the golden model gives."""
    work = tmp_path_factory.mktemp("axi")
    build = compile_model(random_unet(1, work), array="sim", out=work / "build")
    program = build.program
    image = random_image(program.graph, 1)
    (work / "image.bin").write_bytes(memory_image(build.path, program, image, 5).tobytes())
    assert isinstance(program.memory.head, HeadLayout)
    wild = wild_programs(program, (work / "image.bin").read_bytes(), work)
    job = {
        "programs": wild,
        "image": str(work / "image.bin"),
        "base": BASE,
        "program": program.memory.program_address,
        "program_words": len(program.program) // 8,
        "head": program.memory.head_address,
        "head_bytes": program.memory.head.bytes,
        "input": program.memory.tensors[program.memory.input],
        "outside": program.memory.head_address // 128 * 128,
        "beats": [8 * random.Random(i).randrange(program.memory.weights_bytes // 8) for i in range(8)],
        "limit": 40 * program.timing().total,
        "size": (work / "image.bin").stat().st_size // 128 * 128,
        "results": str(work / "faults.json"),
    }
    (work / "job.json").write_text(json.dumps(job))
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", SERVE, str(work), str(build.path / "top.v")],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (work / "faults.json").exists(), done.stdout[-3000:] + done.stderr[-3000:]
    results = json.loads((work / "faults.json").read_text())
    untouched = (work / "image.bin").read_bytes()[job["head"] :][: job["head_bytes"]]
    results["places"] = job | {"untouched": untouched.hex()}
    expected = golden.run(program.graph, image).tensors[program.graph.head.tensor]
    return results, lambda name: (
        unpack_head(bytes.fromhex(results[name]["head"]), program.memory.head) == expected
    ).all()


@pytest.mark.parametrize(
    "name",
    [
        *("plain", "paused", "overrun", "after_bad_read", "after_bad_program", "after_bad_write"),
        *("after_outside", "after_stopped", "after_programs"),
    ],
)
def test_the_head_is_right(campaign, name):
    results, right = campaign
    assert results[name]["early"] & STATUS_BUSY
    assert results[name]["status"] & ~STATUS_OVERRUN == STATUS_DONE
    assert right(name)


@pytest.mark.parametrize(
    ("name", "cause", "place"),
    [
        ("bad_read", CAUSE_READ, "input"),
        ("bad_program", CAUSE_READ, "program"),
        ("bad_write", CAUSE_WRITE, "head"),
        ("outside", CAUSE_OUTSIDE, "outside"),
        ("stopped", CAUSE_STOPPED, None),
        ("bad_write_decerr", CAUSE_WRITE, "head"),
    ],
)
def test_what_ends_a_run_is_told_with_cause_and_address(campaign, name, cause, place):
    results, _ = campaign
    found = results[name]
    assert found["status"] == STATUS_DONE | STATUS_ERROR
    assert not found["busy"]
    assert found["cause"] == cause
    if name == "outside":
        assert found["address"] >= BASE + results["places"]["outside"]
    elif place is not None:
        assert found["address"] == BASE + results["places"][place]


@pytest.mark.parametrize("number", range(8))
def test_any_beat_may_fail_with_either_error(campaign, number):
    results, _ = campaign
    found = results[f"beat_{number}"]
    assert (found["status"], found["cause"]) == (STATUS_DONE | STATUS_ERROR, CAUSE_READ)
    assert found["address"] == BASE + results["places"]["beats"][number]


def test_nothing_is_written_outside_the_window(campaign):
    results, _ = campaign
    assert results["outside"]["head"] == results["places"]["untouched"]


@pytest.mark.parametrize("kind", ["STORE", "LOAD", "PAGE"])
@pytest.mark.parametrize("name", ["behind", "across", "far", "before", "long_before", "in_strides", "back_in_strides"])
def test_a_program_that_transfers_outside_its_window_ends_with_cause_and_address(campaign, kind, name):
    """The limit is where it belongs; the program is wrong.  Nothing outside is touched."""
    results, _ = campaign
    found, first = results[f"{kind}_{name}"], results["places"]["base"]
    size = results["places"]["size"]
    assert found["status"] == STATUS_DONE | STATUS_ERROR
    assert not found["busy"]
    assert found["cause"] == CAUSE_OUTSIDE
    assert not first <= found["address"] < first + size
    assert found["guarded"]


@pytest.mark.parametrize("kind", ["STORE", "LOAD", "PAGE"])
@pytest.mark.parametrize("name", ["no_words", "no_runs"])
def test_a_transfer_of_nothing_leaves_the_window_as_little(campaign, kind, name):
    """No compiler writes one; a program of noise may hold it."""
    results, _ = campaign
    assert results[f"{kind}_{name}"]["guarded"]
    assert not results[f"{kind}_{name}"]["busy"]


def test_a_start_while_busy_is_refused_and_told(campaign):
    results, _ = campaign
    assert results["overrun"]["status"] & STATUS_OVERRUN
    assert not results["plain"]["status"] & STATUS_OVERRUN
    assert not results["after_bad_read"]["status"] & STATUS_OVERRUN


def test_bursts_keep_the_rules_of_axi3(campaign):
    results, _ = campaign
    assert results["violations"] == []
