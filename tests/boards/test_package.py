"""The archive of a build: complete, reproducible, safe to unpack."""

import json

import pytest

from hwseg import models
from hwseg.boards import load_board
from hwseg.boards.zynq7020.package import package
from hwseg.compile.api import compile_model
from hwseg.errors import HwsegError
from hwseg.files import extract_zip, sha256, verify_manifest


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    return compile_model(
        models.path("nuclei-w8a8"), array="8x2x2", out=tmp_path_factory.mktemp("package") / "build"
    ).path


def test_the_archive_holds_the_build_and_its_maps(build, tmp_path):
    names = package(build, load_board("zynq7020"), tmp_path / "a.zip")
    extract_zip(tmp_path / "a.zip", tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == names
    verify_manifest(tmp_path / "out")
    for name in ("top.v", "sim_cells.v", "program.bin", "weights.bin", "memory.json"):
        assert (tmp_path / "out" / name).read_bytes() == (build / name).read_bytes()
    registers = json.loads((tmp_path / "out" / "registers.json").read_text())
    assert {"offset": 8, "name": "control", "access": "wo", "meaning": "bit 0: start"} in registers
    assert "xc7z020" in (tmp_path / "out" / "vivado.tcl").read_text()


def test_the_same_build_gives_the_same_bytes(build, tmp_path):
    package(build, load_board("zynq7020"), tmp_path / "a.zip")
    package(build, load_board("zynq7020"), tmp_path / "b.zip")
    assert sha256(tmp_path / "a.zip") == sha256(tmp_path / "b.zip")


def test_a_changed_build_is_refused(build, tmp_path):
    copy = tmp_path / "copy"
    copy.mkdir()
    for file in build.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    (copy / "weights.bin").write_bytes(b"other")
    with pytest.raises(HwsegError, match=r"weights.bin: was changed"):
        package(copy, load_board("zynq7020"), tmp_path / "a.zip")
    assert not (tmp_path / "a.zip").exists()


def test_a_folder_that_is_no_build_is_refused(tmp_path):
    with pytest.raises(HwsegError, match="must be a build folder"):
        package(tmp_path / "none", load_board("zynq7020"), tmp_path / "a.zip")
