"""`hwseg compare`: ratios of figures that two builds have, in four formats, and what makes builds unlike."""

from __future__ import annotations

import csv
import io
import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hwseg import models
from hwseg.builds.build import compile_model
from hwseg.commands.compare import command
from hwseg.errors import HwsegError
from hwseg.power.band import BOUNDARIES
from hwseg.report.compare import LARGE, Comparison, Figure, as_json, compare, csv_table, distinct, markdown_table
from hwseg.report.pages.compare_view import compare_html


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Two networks on one array, and one of them on a larger array."""
    folder = tmp_path_factory.mktemp("compare")
    chosen = (("w8", "nuclei-w8a8", "sim"), ("mixed", "nuclei-mixed", "sim"), ("large", "nuclei-mixed", "8x8x8"))
    return [compile_model(models.path(model), array=array, out=folder / name).path for name, model, array in chosen]


@pytest.fixture(scope="module")
def reports(builds: list[Path]) -> list[dict[str, Any]]:
    return [json.loads((build / "report.json").read_text()) for build in builds]


@pytest.fixture(scope="module")
def found(reports: list[dict[str, Any]]) -> Comparison:
    return compare(("w8", "mixed", "large"), reports)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(command, [str(a) for a in arguments])


def refused(*arguments: object) -> str:
    result = run(*arguments)
    assert isinstance(result.exception, HwsegError), result.output
    return str(result.exception)


def figure(found: Comparison, key: str, boundary: str = "") -> Figure:
    return next(f for f in found.figures if (f.key, f.boundary) == (key, boundary))


def test_ratios_are_to_the_first(found: Comparison, reports: list[dict[str, Any]]) -> None:
    cycles = [report["totals"]["cycles"] for report in reports]
    assert figure(found, "cycles").values == tuple(cycles)
    assert figure(found, "cycles").ratios == (1.0, cycles[1] / cycles[0], cycles[2] / cycles[0])
    for boundary in BOUNDARIES:
        bands = [report["totals"]["gops_per_w"][boundary] for report in reports]
        efficiency = figure(found, "gops_per_w", boundary)
        assert efficiency.ratios == tuple(band["mid"] / bands[0]["mid"] for band in bands)
        assert efficiency.better == LARGE


def test_a_ratio_to_nothing_is_none(found: Comparison) -> None:
    assert Figure("dsp", "DSP", "", (0, 5), ("0", "5")).ratios == (None, None)


def test_layers_that_all_have(found: Comparison, reports: list[dict[str, Any]]) -> None:
    common = set.intersection(*({row["name"] for row in report["layers"]} for report in reports))
    assert {layer.name for layer in found.layers} == common
    assert len(found.layers) == len(common) * (1 + len(BOUNDARIES))
    for layer in found.layers:
        rows = [next(row for row in report["layers"] if row["name"] == layer.name) for report in reports]
        expected = [row["energy_mj"][layer.boundary] if layer.boundary else row["cycles"] for row in rows]
        assert list(layer.values) == expected


def test_formats_hold_the_same(found: Comparison) -> None:
    content = json.loads(json.dumps(as_json(found)))
    rows = list(csv.DictReader(io.StringIO(csv_table(found))))
    assert len(rows) == len(content["figures"]) + len(content["layers"])
    for entry, row in zip(content["figures"] + content["layers"], rows, strict=True):
        value = entry["values"][1]
        assert float(row["mixed"]) == (value["mid"] if isinstance(value, dict) else value)
        assert row["figure"] == entry["key"]
        assert (row["mixed ratio"] == "") == (entry["ratios"][1] is None)
    text = markdown_table(found, "pl_ps")
    assert "GOPS/W, logic, PS and DDR" in text
    assert "GOPS/W, board" not in text
    assert "| mJ of layer (pl_ps) |" in text


def test_the_page_draws_every_build(found: Comparison) -> None:
    page = compare_html(found, "board")
    assert 'value="board" checked' in page
    for name in found.names:
        assert page.count(f'">{name}</text>') == page.count("<section")
    assert page == compare_html(found, "board")


def test_what_makes_builds_unlike(reports: list[dict[str, Any]]) -> None:
    assert any("different work" in note for note in compare(("a", "b"), reports[:2]).notes)
    same = compare(("a", "b"), [reports[1]] * 2).notes
    assert same == ("Resources are estimated where they were not synthesized.",)
    other = deepcopy(reports[1])
    other["clock_mhz"], other["board"] = 100.0, "other"
    other["energy"]["temperature_c"] = 80.0
    other["energy"]["activity_source"] = "pictures"
    for row in other["resources"].values():
        row["measured"] = 1
    notes = " ".join(compare(("a", "b"), [reports[1], other]).notes)
    for word in ("boards", "clocks", "temperatures", "different activity"):
        assert word in notes


def test_equal_names_are_numbered() -> None:
    assert distinct(["a", "b", "a"]) == ("a (1)", "b", "a (2)")


def test_hostile_names_are_escaped(reports: list[dict[str, Any]]) -> None:
    hostile = "<script>alert(1)</script>"
    named = [{**report, "model": hostile} for report in reports[:2]]
    page = compare_html(compare((hostile, "b"), named))
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page


def test_the_command(builds: list[Path], tmp_path: Path) -> None:
    files = [tmp_path / f"c.{end}" for end in ("html", "md", "csv", "json")]
    result = run(*builds, *(part for path in files for part in ("-o", path)))
    assert result.exit_code == 0, result.output
    assert "ratio" in result.output
    assert all(path.stat().st_size > 500 for path in files)
    assert [b["name"] for b in json.loads(files[3].read_text())["builds"]] == ["w8", "mixed", "large"]


def test_what_the_command_refuses(builds: list[Path], tmp_path: Path) -> None:
    assert "hwseg compare: needs at least two builds; name the folders of two builds" in refused(builds[0])
    assert "needs at least two builds" in refused()
    assert "c.pdf: must end in .html, .md, .csv, .json; use c.html" in refused(*builds, "-o", tmp_path / "c.pdf")
    assert "must be one of core, pl, pl_ps, board" in refused(*builds, "--boundary", "all")
    assert "must be a build folder with report.json; run hwseg compile" in refused(builds[0], tmp_path)
    assert list(tmp_path.iterdir()) == []
