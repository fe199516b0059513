"""`hwseg report`: energies made anew, files whole or absent, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from hwseg import models
from hwseg.builds import again as reports
from hwseg.builds.build import compile_model
from hwseg.commands.report import command
from hwseg.errors import HwsegError
from hwseg.files import MANIFEST, sha256
from hwseg.power.band import BOUNDARIES
from hwseg.power.coefficients import FILE
from hwseg.power.estimate import EnergyReport

FILES = {"report.json", "report.md", "report.csv", "report.html", "timeline.svg"}


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compile_model(models.path("nuclei-mixed"), array="sim", out=tmp_path_factory.mktemp("report") / "a").path


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "pictures" / "a.png"
    path.parent.mkdir()
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (128, 128), np.uint8)).save(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, HwsegError), result.output
    return str(result.exception)


def written(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "report.json").read_text())
    return content


@pytest.fixture
def simulated(build: Path) -> Any:
    """The build with what a simulation leaves, and without it afterwards."""
    folder = build / "simulation"
    folder.mkdir()
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "overlay.png")
    found = {
        "cycles": 7,
        "predicted_cycles": 7,
        "mismatches": 0,
        "manifest": sha256(build / MANIFEST),
        "image": "x.png",
    }
    (folder / "simulation.json").write_text(json.dumps(found))
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


def test_the_report_as_compiled(build: Path) -> None:
    result = run(build)
    assert result.exit_code == 0, result.output
    for boundary in BOUNDARIES:
        assert f"\n{boundary} " in result.output
    assert "GOPS/W" in result.output
    assert not (build / "report").exists()


def test_written_files_are_those_of_the_build(build: Path, tmp_path: Path) -> None:
    assert run(build, "-o", tmp_path / "out").exit_code == 0
    assert {p.name for p in (tmp_path / "out").iterdir()} >= FILES
    for name in FILES:
        assert (tmp_path / "out" / name).read_bytes() == (build / name).read_bytes(), name


def test_a_calibrated_build_shows_its_picture(picture: Path, tmp_path: Path) -> None:
    built = compile_model(models.path("nuclei-mixed"), array="sim", out=tmp_path / "b", calibrate=picture)
    assert built.report["energy"]["activity"] == ["calibration"]
    page = (built.path / "report.html").read_text()
    assert "find in the calibration picture" in page
    assert "Leading zero planes" in page
    assert run(built.path, "-o", tmp_path / "out").exit_code == 0
    assert (tmp_path / "out" / "report.html").read_text() == page


def test_a_warmer_chip_leaks_more(build: Path, tmp_path: Path) -> None:
    assert run(build, "--temperature", 85, "-o", tmp_path / "hot").exit_code == 0
    cold, hot = written(build), written(tmp_path / "hot")
    assert hot["energy"]["temperature_c"] == 85
    for boundary in BOUNDARIES[1:]:
        assert hot["totals"]["energy_mj"][boundary]["mid"] > cold["totals"]["energy_mj"][boundary]["mid"]
    assert hot["totals"]["energy_mj"]["core"] == cold["totals"]["energy_mj"]["core"]
    for boundary in BOUNDARIES:
        energies = [row["energy_mj"][boundary]["high"] for row in hot["layers"]]
        assert sum(energies) == hot["totals"]["energy_mj"][boundary]["high"]


def test_other_coefficients(build: Path, tmp_path: Path) -> None:
    doubled = tmp_path / "mine.toml"
    doubled.write_text(FILE.read_text().replace("[ddr_byte]", "# mine\n[ddr_byte]"))
    result = run(build, "--coefficients", doubled, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout) == written(tmp_path / "out")
    assert written(tmp_path / "out")["energy"]["coefficients_sha256"] == sha256(doubled)


def test_pictures_are_looked_at(build: Path, picture: Path, tmp_path: Path) -> None:
    assert run(build, "--images", picture.parent, "-o", tmp_path / "out").exit_code == 0
    page = (tmp_path / "out" / "report.html").read_text()
    assert "the exact integers find in a.png" in page
    assert 'src="data:image/png;base64,' in page


def test_the_boundary_that_is_asked_for_is_shown_first(build: Path, tmp_path: Path) -> None:
    assert run(build, "--boundary", "board", "-o", tmp_path / "out").exit_code == 0
    assert 'value="board" checked' in (tmp_path / "out" / "report.html").read_text()
    assert "GOPS/W (board)" in (tmp_path / "out" / "report.md").read_text()


def test_the_simulation_of_this_build_is_told(build: Path, simulated: Path, tmp_path: Path) -> None:
    result = run(build, "-o", tmp_path / "out")
    assert "Simulated: 7 cycles, as predicted, 0 wrong values" in result.output
    assert "the simulated engine found in x.png" in (tmp_path / "out" / "report.html").read_text()


def test_a_build_changed_since_it_was_simulated(build: Path, simulated: Path) -> None:
    found = json.loads((simulated / "simulation.json").read_text())
    (simulated / "simulation.json").write_text(json.dumps(found | {"manifest": "0123456789abcdef"}))
    sentence = refused(build)
    assert "simulation.json: the build was changed since it was simulated: manifest" in sentence
    assert "not 0123456789ab; run hwseg simulate again" in sentence


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cycles": 1}'])
def test_a_damaged_simulation_is_named(build: Path, simulated: Path, content: str) -> None:
    (simulated / "simulation.json").write_text(content)
    assert "simulation.json: must be what hwseg simulate writes; run hwseg simulate again" in refused(build)


def test_a_changed_file_is_named(tmp_path: Path, build: Path) -> None:
    other = tmp_path / "b"
    other.mkdir()
    for path in build.iterdir():
        if path.is_file():
            (other / path.name).write_bytes(path.read_bytes())
    (other / "program.bin").write_bytes(bytes(32))
    assert "program.bin: was changed: SHA-256" in refused(other)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--boundary", "chip"), "boundary chip: must be one of core, pl, pl_ps, board; use pl_ps"),
        (("--full",), "--full: needs pictures to look at; add --images"),
        (("--temperature", "200"), "junction temperature: must be from 25 to 85 degrees Celsius, is 200; use 50"),
        (("--images", "nowhere"), "nowhere: must be a picture, but there is no such file; check the path"),
    ],
)
def test_wrong_options(build: Path, options: tuple[str, ...], sentence: str) -> None:
    assert sentence in refused(build, *options)
    assert not (build / "report").exists()


def test_vivado_stands_beside_the_estimate(
    build: Path, picture: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What runs Vivado is tested on its own; here, that its figures reach every file."""
    from hwseg.bench import vivado

    def compare(of: Path, images: Path, energy: EnergyReport, *_: object) -> vivado.Figures:
        assert (of, images) == (build, picture)
        rows = {"Total On-Chip Power (W)": 1.25, "Dynamic (W)": 1.1, "Device Static (W)": 0.15, "<b>": 0.1}
        return vivado.Figures(rows, energy.watts("pl"))

    monkeypatch.setattr(vivado, "compare", compare)
    result = run(build, "--images", picture, "--vivado", "-o", tmp_path / "out")
    sentence = "Vivado's report_power: 1.250 W in the programmable logic (1.100 W dynamic); estimated: "
    assert sentence in result.output
    found = written(tmp_path / "out")
    assert found["vivado"]["watts"]["Device Static (W)"] == 0.15
    assert found["vivado"]["estimated_watts"] == found["totals"]["watts"]["pl"]
    assert sentence in (tmp_path / "out" / "report.md").read_text()
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Beside Vivado" in page
    assert '<td class="left">&lt;b&gt;</td>' in page


def test_without_vivado_or_pictures(build: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert refused(build, "--vivado").startswith("--vivado: needs vivado on PATH, which is not there; install Vivado")
    assert not (build / "report").exists()


def test_coefficients_out_of_order(build: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('[ddr_byte]\nlow = 3.0\nmid = 2.0\nhigh = 4.0\nunit = "pJ"\nsource = "x"\ndate = "2026"\n')
    sentence = refused(build, "--coefficients", mine)
    assert sentence.startswith("mine.toml: ddr_byte: must have low <= mid <= high, has low 3, mid 2, high 4")


def test_a_picture_of_another_size(build: Path, tmp_path: Path) -> None:
    path = tmp_path / "small.png"
    Image.fromarray(np.zeros((64, 100), np.uint8)).save(path)
    assert refused(build, "--images", path).endswith(
        "small.png: must be 128 wide and 128 high, is 100 by 64; crop or resize it first"
    )


def test_a_folder_of_others_stays(build: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("precious")
    assert "exists and was not written by hwseg-report" in refused(build, "-o", tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_nothing_is_left_of_a_report_that_fails(build: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> bytes:
        raise HwsegError("report.csv", "the disk is full")

    monkeypatch.setattr(reports, "csv_text", fail)
    assert "the disk is full" in refused(build, "-o", tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_build_of_an_older_version(build: Path, tmp_path: Path) -> None:
    old = {**written(build), "layers": [{"name": "a"}]}
    (tmp_path / "report.json").write_text(json.dumps(old))
    (tmp_path / MANIFEST).write_text(json.dumps({"report.json": sha256(tmp_path / "report.json")}))
    assert "was compiled by an older hwseg: its report has no energy; compile it again" in refused(tmp_path)
