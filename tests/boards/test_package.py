"""Packages: complete, reproducible, safe to unpack, refused where they would not run."""

from __future__ import annotations

import ast
import base64
import hashlib
import json
import re
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from hwseg import models
from hwseg.boards import board_names, load_board
from hwseg.boards.zynq7020.package import archive, package
from hwseg.builds.build import compile_model
from hwseg.builds.read import load_build
from hwseg.commands.compile import command as compile_command
from hwseg.commands.package import command
from hwseg.commands.report import command as report_command
from hwseg.errors import HwsegError
from hwseg.files import Sealed, extract_zip, manifest_text, sha256, verify_manifest
from hwseg.rtl.registers import REGISTERS
from hwseg.runtime import read_package
from hwseg.runtime.fpga import BINARY, BIT, bit_to_bin
from tests.boards.test_bitstream import bit

BOARD = load_board("pynq-z2")


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("builds")
    return [compile_model(models.path(n), array="8x2x2", out=folder / n).path for n in ("nuclei-w8a8", "nuclei-mixed")]


@pytest.fixture(scope="module")
def packaged(builds, tmp_path_factory):
    folder = tmp_path_factory.mktemp("package") / "package"
    package(builds, BOARD, folder)
    return folder


def refused(builds, board, folder):
    with pytest.raises(HwsegError) as caught:
        package(builds, board, folder)
    assert not folder.exists()
    return str(caught.value)


def test_a_package_holds_hardware_models_and_driver_and_its_manifest_is_right(packaged, builds):
    verify_manifest(packaged)
    found = read_package(packaged)
    assert found.models == ("nuclei-w8a8", "nuclei-mixed")
    assert (found.array, found.array_code, found.board.part) == ("8x2x2", 0x020208, "xc7z020clg400-1")
    assert found.offsets == {register.name: register.offset for register in REGISTERS}
    for build in builds:
        for name in ("program.bin", "weights.bin", "memory.json"):
            assert (packaged / "models" / build.name / name).read_bytes() == (build / name).read_bytes()
        found.model(build.name).images()
    assert (packaged / "hardware" / "top.v").read_bytes() == (builds[0] / "top.v").read_bytes()
    assert "Apache License" in (packaged / "licences" / "hwseg-Apache-2.0.txt").read_text()
    assert {"hwseg", "amaranth", "numpy", "python"} <= set(json.loads((packaged / "versions.json").read_text()))


def test_the_same_builds_give_the_same_archive_which_unpacks_whole(packaged, builds, tmp_path):
    package(builds, BOARD, tmp_path / "again")
    archive(packaged, tmp_path / "a.zip")
    archive(tmp_path / "again", tmp_path / "b.zip")
    assert sha256(tmp_path / "a.zip") == sha256(tmp_path / "b.zip")
    extract_zip(tmp_path / "a.zip", tmp_path / "out")
    verify_manifest(tmp_path / "out")
    assert read_package(tmp_path / "out").models == read_package(packaged).models


def test_a_bitstream_stays_while_the_hardware_is_the_same(builds, tmp_path):
    """Also one that a tool has made anew since; what is none, or has changed without a tool, does not get a new sum."""
    target, made = tmp_path / "package", bit(4096)
    package(builds[:1], BOARD, target)
    (target / "bitstream").mkdir()
    (target / BIT).write_bytes(made)
    package(builds, BOARD, target)
    assert read_package(target).models == ("nuclei-w8a8", "nuclei-mixed")
    assert (target / BIT).read_bytes() == made
    verify_manifest(target)
    (target / BIT).write_bytes(made.replace(b"020clg400", b"010clg400"))
    with pytest.raises(HwsegError, match=r"hwseg.bit: must be for xc7z020clg400-1, is for 7z010clg400"):
        package(builds, BOARD, target)
    (target / BIT).write_bytes(made[:-4] + bytes(4))
    (target / BINARY).write_bytes(b"of the old one")
    package(builds, BOARD, target)
    assert (target / BINARY).read_bytes() == bit_to_bin((target / BIT).read_bytes())
    verify_manifest(target)
    (target / BIT).unlink()
    package(builds, BOARD, target)
    assert (target / BINARY).read_bytes() == bit_to_bin(made[:-4] + bytes(4))
    (target / BINARY).write_bytes(b"damaged")
    with pytest.raises(HwsegError, match=r"hwseg.bit.bin: was changed: .*; remove .*hwseg.bit.bin or put hwseg.bit"):
        package(builds, BOARD, target)
    package(builds, load_board("arty-z7-20"), target)
    assert not (target / "bitstream").exists()


def test_builds_of_one_model_with_fewer_planes_have_names_of_their_own(builds, tmp_path):
    turned = shutil.copytree(builds[0], tmp_path / "turned")
    report = json.loads((turned / "report.json").read_text()) | {"planes": 4}
    (turned / "report.json").write_text(json.dumps(report))
    (turned / "manifest.json").write_text(manifest_text(turned))
    package([builds[0], turned], BOARD, tmp_path / "package")
    assert read_package(tmp_path / "package").models == ("nuclei-w8a8", "nuclei-w8a8-4planes")


def test_a_changed_build_is_refused(builds, tmp_path):
    copy = shutil.copytree(builds[0], tmp_path / "copy")
    (copy / "weights.bin").write_bytes(b"other")
    assert "weights.bin: was changed" in refused([copy], BOARD, tmp_path / "package")
    assert "must be a build folder" in refused([tmp_path / "none"], BOARD, tmp_path / "package")


def test_a_build_for_another_ddr_width_part_array_or_memory_is_refused(builds, tmp_path):
    target = tmp_path / "package"
    sentence = refused(builds, load_board("zedboard"), target)
    assert (
        "was compiled for 16-bit DDR (zynq7020), zedboard has 32-bit; compile again with --board zedboard" in sentence
    )
    other = replace(BOARD, name="other", part="xc7z010clg400-1")
    assert "was compiled for xc7z020, other has xc7z010; compile again with --board other" in refused(
        builds, other, target
    )
    small = replace(BOARD, ddr_bytes=1 << 16)
    assert re.search(r"needs \d+ bytes of memory, pynq-z2 grants 65536", refused(builds, small, target))
    assert "nuclei-w8a8 comes twice" in refused([builds[0], builds[0]], BOARD, target)
    array = compile_model(models.path("nuclei-w8a8"), array="8x1x1", out=tmp_path / "array").path
    assert "is for the array 8x1x1, " in refused([builds[1], array], BOARD, target)


def test_a_build_for_the_zedboard_is_packaged_for_it(tmp_path):
    build = compile_model(models.path("nuclei-w8a8"), board="zedboard", array="8x1x1", out=tmp_path / "build").path
    package([build], load_board("zedboard"), tmp_path / "package")
    hardware = tmp_path / "package" / "hardware"
    assert "xc7z020clg484-1" in (hardware / "vivado.tcl").read_text()
    assert "-period 7.000" in (hardware / "timing.xdc").read_text()
    assert (hardware / "pins.xdc").read_text().count("PACKAGE_PIN") == 8


def test_vivado_writes_no_bitstream_before_timing_is_met(packaged):
    text = (packaged / "hardware" / "vivado.tcl").read_text()
    assert text.count("{") == text.count("}")
    assert text.count("[") == text.count("]")
    order = [
        text.index(word) for word in ("route_design", "report_power", 'error "timing is not met', "write_bitstream")
    ]
    assert order == sorted(order)
    assert "create_clock -name fclk0 -period 6.667" in (packaged / "hardware" / "timing.xdc").read_text()


def test_constraints_name_what_the_top_level_has(packaged):
    top = (packaged / "hardware" / "hwseg_zynq.v").read_text()
    for cell in re.findall(r"get_pins \{(.*?)\}", (packaged / "hardware" / "timing.xdc").read_text()):
        for pin in cell.split():
            instance, port = pin.split("/")
            module = re.search(rf"^  (\w+) (?:#\(.*?\) )?{instance} \((.*?)\);", top, re.S | re.M)
            assert module is not None, instance
            assert f".{port.split('[')[0]}(" in module[2]
    leds = re.findall(r"leds\[(\d)\]", (packaged / "hardware" / "pins.xdc").read_text())
    assert sorted(set(leds)) == ["0", "1", "2", "3"]
    assert "output [3:0] leds;" in top


def test_the_shell_script_is_sound(packaged):
    script = packaged / "hardware" / "open.sh"
    assert script.stat().st_mode & 0o111
    subprocess.run(["sh", "-n", str(script)], check=True)
    done = subprocess.run(
        ["sh", str(script)], capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"}
    )
    assert done.returncode != 0
    assert "must name the chip database of xc7z020" in done.stderr


def test_the_packaged_driver_needs_numpy_only_and_python_3_10(packaged, tmp_path):
    for path in (packaged / "python").rglob("*.py"):
        text = path.read_text()
        ast.parse(text, feature_version=(3, 10))
        assert not re.search(r"\b(tomllib|StrEnum|Self|ExceptionGroup|datetime\.UTC)\b", text), path
    code = """
import sys
class Others:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] not in {"hwseg", "numpy", *sys.stdlib_module_names}:
            raise ImportError(name)
sys.meta_path.insert(0, Others())
sys.path.insert(0, sys.argv[1])
import hwseg, hwseg.runtime.fpga, hwseg.segment.program
assert hwseg.__file__.startswith(sys.argv[1]), hwseg.__file__
package = hwseg.runtime.read_package(sys.argv[2])
print(package.model("nuclei-mixed").cycles)
"""
    run = [sys.executable, "-c", code, str(packaged / "python"), str(packaged)]
    done = subprocess.run(run, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) == read_package(packaged).model("nuclei-mixed").cycles > 0


def test_the_wheel_is_the_driver_byte_for_byte_and_its_record_is_right(packaged):
    (path,) = (packaged / "python").glob("*.whl")
    assert f"python/{path.name}" in Sealed.of(packaged).digests
    modules = {p.relative_to(packaged / "python").as_posix(): p for p in (packaged / "python").rglob("*.py")}
    with zipfile.ZipFile(path) as content:
        assert content.testzip() is None
        names = content.namelist()
        assert len(names) == len(set(names))
        assert {name for name in names if ".dist-info/" not in name} == set(modules)
        assert all(content.read(name) == file.read_bytes() for name, file in modules.items())
        (record,) = (name for name in names if name.endswith("/RECORD"))
        rows = [line.split(",") for line in content.read(record).decode().splitlines()]
        assert {row[0] for row in rows} == set(names)
        for name, digest, size in rows:
            if name != record:
                data = content.read(name)
                assert size == str(len(data))
                found = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
                assert digest == f"sha256={found}"


def test_the_wheel_installs_without_an_index_beside_numpy_alone(packaged, tmp_path):
    venv.create(tmp_path / "board", with_pip=False, symlinks=True)
    python = tmp_path / "board" / "bin" / "python"
    (site,) = (tmp_path / "board").glob("lib/python*/site-packages")
    (tmp_path / "lent").mkdir()
    for path in Path(sysconfig.get_paths()["purelib"]).glob("numpy*"):
        (tmp_path / "lent" / path.name).symlink_to(path)
    (site / "lent.pth").write_text(f"{tmp_path / 'lent'}\n")
    (wheel,) = (packaged / "python").glob("*.whl")

    def run(*command):
        return subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=tmp_path)

    done = run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-index", wheel)
    assert done.returncode == 0, done.stderr
    program = python.with_name("hwseg")
    assert run(program, "--version").stdout.startswith("hwseg 0.")
    np.save(tmp_path / "picture.npy", np.zeros((40, 50), np.uint8))
    for words in ([program, "segment"], [python, "-m", "hwseg.segment"]):
        done = run(*words, packaged, "picture.npy", "-o", "mask.npy")
        assert done.returncode == 2
        assert re.fullmatch(
            r"hwseg: board: must be xlnx,zynq-7000, as the pynq-z2 is, this program runs on .*\n", done.stderr
        )
    assert not (tmp_path / "mask.npy").exists()
    for other in ("click", "rich", "PIL"):
        assert run(python, "-c", f"import {other}").returncode == 1


def test_linux_is_told_of_registers_interrupt_and_memory(packaged):
    text = (packaged / "linux" / "hwseg.dts").read_text()
    assert text.count("{") == text.count("}")
    assert "reg = <0x40000000 0x1000>;" in text
    assert "interrupts = <0 29 4>;" in text
    found = read_package(packaged)
    size = re.search(r"size = <(0x[0-9a-f]+)>", text)
    assert size is not None
    assert int(size[1], 16) >= sum(found.model(name).total_bytes for name in found.models)
    assert 'ATTR{name}=="hwseg"' in (packaged / "linux" / "99-hwseg.rules").read_text()


def test_the_notebook_is_one(packaged):
    content = json.loads((packaged / "notebooks" / "segment.ipynb").read_text())
    assert (content["nbformat"], content["nbformat_minor"]) == (4, 5)
    assert len({cell["id"] for cell in content["cells"]}) == len(content["cells"])
    for cell in content["cells"]:
        assert {"cell_type", "id", "metadata", "source"} <= set(cell)
        if cell["cell_type"] == "code":
            assert (cell["outputs"], cell["execution_count"]) == ([], None)
            ast.parse("".join(cell["source"]))


def test_the_command_writes_folder_and_archive(builds, tmp_path):
    arguments = [str(builds[0]), "--board", "arty-z7-20", "-o", str(tmp_path / "out"), "--archive"]
    done = CliRunner().invoke(command, arguments)
    assert done.exit_code == 0, done.exception
    assert "files for the Arty Z7-20" in done.output
    assert (tmp_path / "out.zip").is_file()
    verify_manifest(tmp_path / "out")
    done = CliRunner().invoke(command, [str(builds[0]), "--board", "zed", "-o", str(tmp_path / "zed")])
    assert "'zed' is not a board; use zynq7010, zynq7020, arty-z7-10, arty-z7-20" in str(done.exception)


def test_a_build_may_be_the_folder_that_one_is_in(builds, tmp_path, monkeypatch):
    """`.` and `..` have no name that the package's could be made of, and `-o .` is replaced under the command."""
    build = tmp_path / "build"
    shutil.copytree(builds[0], build)
    (build / "below").mkdir()
    for at, path in ((build, "."), (build / "below", "..")):
        monkeypatch.chdir(at)
        done = CliRunner().invoke(command, [path, "--board", "pynq-z2"])
        assert done.exit_code == 0, done.exception
        verify_manifest(tmp_path / "build-pynq-z2")
        shutil.rmtree(tmp_path / "build-pynq-z2")
    (tmp_path / "out").mkdir()
    monkeypatch.chdir(tmp_path / "out")
    done = CliRunner().invoke(command, [str(build), "--board", "pynq-z2", "-o", ".", "--archive"])
    assert done.exit_code == 0, done.exception
    verify_manifest(tmp_path / "out")
    assert (tmp_path / "out.zip").is_file()
    monkeypatch.chdir(tmp_path)
    for arguments in (["/"], [str(build), "-o", "/"]):
        done = CliRunner().invoke(command, [*arguments, "--board", "pynq-z2"])
        assert "/: must be a folder that has a name; choose another folder" in str(done.exception)


def test_any_board_with_the_part_is_no_board_to_package_for(builds, tmp_path):
    for name in ("zynq7020", "zynq7010"):
        done = CliRunner().invoke(command, [str(builds[0]), "--board", name, "-o", str(tmp_path / "out")])
        assert isinstance(done.exception, HwsegError)
        assert not (tmp_path / "out").exists()
        said = str(done.exception)
        assert f"--board: must be a board that there is, {name} is any with an xc7" in said
    assert "use arty-z7-10, cora-z7-10, microzed-7010, zybo-z7-10, or a board file of your own" in said


OWN = """name = "bench-rig"
part = "xc7z010clg400-1"
clock_mhz = 125.0

[ddr]
bytes_per_second = 1.1e9

[ps.fclk]
pll = "io"
divisors = [8, 1]

[pins]
leds = ["G14"]
"""


def test_a_board_of_ones_own_travels_from_compile_to_report_and_package(tmp_path, monkeypatch):
    """Everything after `compile` reads the build's copy: the file that it was given may be gone or changed."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rig.toml").write_text(OWN)
    model = str(models.path("nuclei-w8a8"))
    options = [model, "-o", "build", "--board", "rig.toml", "--array", "8x1x1"]
    done = CliRunner().invoke(compile_command, options)
    assert done.exit_code == 0, done.exception
    build = tmp_path / "build"
    assert (build / "board.toml").read_text() == OWN
    report = json.loads((build / "report.json").read_text())
    assert (report["board"], report["clock_mhz"]) == ("bench-rig", 125)
    assert report["resources"]["lut"]["available"] == 17600
    done = CliRunner().invoke(command, ["build", "--board", "rig.toml"])
    assert done.exit_code == 0, done.exception
    found = read_package(tmp_path / "build-bench-rig")
    assert (found.board.name, found.board.clock_mhz, found.board.part) == ("bench-rig", 125, "xc7z010clg400-1")
    assert "PACKAGE_PIN G14" in (tmp_path / "build-bench-rig" / "hardware" / "pins.xdc").read_text()

    (tmp_path / "rig.toml").write_text(OWN.replace("1.1e9", "1.2e9"))
    done = CliRunner().invoke(command, ["build", "--board", "rig.toml"])
    assert "compiled for a DDR of 1.1 GB/s (bench-rig), bench-rig has 1.2; compile again with the same --board" in str(
        done.exception
    )
    (tmp_path / "rig.toml").unlink()
    _, program, _ = load_build(build)
    assert (program.board.name, program.board.ddr_bytes_per_second) == ("bench-rig", 1.1e9)
    assert program.program == (build / "program.bin").read_bytes()
    done = CliRunner().invoke(report_command, ["build", "-o", "again"])
    assert done.exit_code == 0, done.exception
    done = CliRunner().invoke(command, ["build", "--board", "cora-z7-10"])
    assert "was compiled for a DDR of 1.1 GB/s (bench-rig), cora-z7-10 has 1.47" in str(done.exception)
    (build / "board.toml").write_text(OWN.replace("125.0", "125.00"))
    for broken in (lambda: load_build(build), lambda: package([build], BOARD, tmp_path / "p")):
        with pytest.raises(HwsegError, match=r"board.toml: was changed"):
            broken()


def test_a_board_file_that_nobody_listed_is_no_part_of_a_build(builds, tmp_path):
    copy = shutil.copytree(builds[0], tmp_path / "copy")
    (copy / "board.toml").write_text(OWN)
    for broken in (lambda: load_build(copy), lambda: package([copy], BOARD, tmp_path / "p")):
        with pytest.raises(HwsegError, match=r"board.toml: is not listed"):
            broken()


@pytest.mark.parametrize("name", board_names("zynq7010"))
def test_the_smaller_part_has_packages_too(name, tmp_path):
    board = load_board(name)
    build = compile_model(models.path("nuclei-w8a8"), board=name, out=tmp_path / "build")
    assert build.report["array"] == "8x2x8-dsp"
    assert any("is not known to have routed any array on the xc7z010" in said for said in build.report["warnings"])
    package([build.path], board, tmp_path / "package")
    assert read_package(tmp_path / "package").board.part == "xc7z010clg400-1"
    assert f"-part {board.part} " in (tmp_path / "package" / "hardware" / "vivado.tcl").read_text()
