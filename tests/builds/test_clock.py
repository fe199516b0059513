"""A build compiled again for another clock is what `compile` would have made of the same choices."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hwseg.boards import NEXTPNR
from hwseg.builds.build import compile_model
from hwseg.builds.clock import compiled_at, require_same_engine
from hwseg.errors import HwsegError
from hwseg.files import verify_manifest
from hwseg.ir import Graph
from tests.quant.models import random_unet

BOARD = """name = "rig"
part = "xc7z020clg400-1"

[ddr]
bytes_per_second = 1.0e9
"""
FILES = ("program.bin", "weights.bin", "memory.json", "graph.json", "calibration.npy", "model.onnx", "board.toml")


def test_all_that_was_chosen_stays_but_the_clock(tmp_path):
    model = random_unet(2, tmp_path)
    (tmp_path / "rig.toml").write_text(BOARD)
    first = compile_model(model, str(tmp_path / "rig.toml"), array="8x1x1", out=tmp_path / "plain")
    picture = tmp_path / "picture.npy"
    np.save(picture, np.random.default_rng(1).integers(0, 256, shape(first.program.graph)).astype(np.uint8))
    choices = {"array": "8x1x1", "planes": 5, "calibrate": picture}
    build = compile_model(model, str(tmp_path / "rig.toml"), out=tmp_path / "build", **choices)
    wanted = compile_model(model, str(tmp_path / "rig.toml"), 100.0, out=tmp_path / "wanted", **choices)
    found = compiled_at(build.path, 100.0, tmp_path / "again", "routed so")
    verify_manifest(found.path)
    for name in FILES:
        assert (found.path / name).read_bytes() == (wanted.path / name).read_bytes(), name
    report, like = (json.loads((b.path / "report.json").read_text()) for b in (found, wanted))
    assert (report["model"], report["board"], report["clock_mhz"], report["planes"]) == (model.stem, "rig", 100.0, 5)
    assert report["warnings"] == ["routed so", *like["warnings"]]
    assert report | {"warnings": []} == like | {"warnings": []}
    assert (found.path / "program.bin").read_bytes() != (build.path / "program.bin").read_bytes()


def shape(graph: Graph) -> tuple[int, ...]:
    return graph.types[graph.input].shape


def test_what_was_synthesized_is_not_forgotten(tmp_path):
    model = random_unet(3, tmp_path)
    measured = {"lut": 6000, "lutram": 900, "ff": 13000, "bram36": 48.5, "dsp": 5}
    build = compile_model(model, array="8x1x1", out=tmp_path / "build", measured=measured, tool=NEXTPNR)
    found = compiled_at(build.path, 125.0, tmp_path / "again")
    assert {name: row["measured"] for name, row in found.report["resources"].items()} == measured
    assert build.report["warnings"] == found.report["warnings"]


def test_what_a_build_is_called_does_not_matter(tmp_path, monkeypatch):
    model = random_unet(3, tmp_path)
    build = compile_model(model, array="8x1x1", out=tmp_path / "builds" / model.name).path
    monkeypatch.chdir(build)
    (build / "below").mkdir()
    for number, path in enumerate((build, Path(), Path("below") / "..")):
        found = compiled_at(path, 125.0, tmp_path / str(number))
        assert found.path == tmp_path / str(number) / "build"
        assert (found.report["model"], found.report["clock_mhz"]) == (model.stem, 125.0)


def test_gates_of_another_hwseg_are_refused(tmp_path, monkeypatch):
    build = compile_model(random_unet(3, tmp_path), array="8x1x1", out=tmp_path / "build").path
    require_same_engine(build)
    monkeypatch.setattr("hwseg.builds.clock.engine_verilog", lambda config: "module hwseg; endmodule")
    with pytest.raises(HwsegError, match=r"was compiled by another hwseg, whose engine is not this one's"):
        require_same_engine(build)
