"""report.html and compare.html in a real browser: Chromium, from the package index, in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hwseg import models
from hwseg.boards import load_board
from hwseg.builds import again as reports
from hwseg.builds.build import compile_model
from hwseg.clock.spans import WAITS, WALK, record
from hwseg.pictures.draw import mask_png
from hwseg.pictures.labels import Labels
from hwseg.report.compare import compare
from hwseg.report.html import Picture
from hwseg.report.pages.compare_view import compare_html
from hwseg.report.pages.timeline_view import NAMES
from hwseg.rtl.config import parse_array

SIZE = (1150, 1000)
HOSTILE = "<img src=x onerror=window.broken=1><script>window.broken=1</script>'\"&"
HEADS = 'const heads = [...document.querySelectorAll("#layers thead th")]; '


def browse(url: str, *steps: str, dark: bool = False) -> dict[str, Any]:
    """What the browser found; skips where its libraries are missing, but never in continuous integration."""
    job = {"url": url, "dark": dark, "size": SIZE, "steps": list(steps)}
    program = Path(__file__).with_name("browse.py")
    done = subprocess.run(
        [sys.executable, str(program)], input=json.dumps(job), capture_output=True, text=True, timeout=120, check=False
    )
    if "ImportError" in done.stderr or "ModuleNotFoundError" in done.stderr:
        reason = f"no browser: {done.stderr.strip().splitlines()[-1]}; pip install PySide6-WebEngine"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    assert found["loaded"]
    return found


def clean(found: dict[str, Any], url: str) -> None:
    """No message on the console, and nothing asked for but the page itself."""
    assert found["console"] == []
    assert [request for request in found["requests"] if not request.startswith("data:")] == [url]


@pytest.fixture(scope="module")
def builds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("browser")
    names = ("nuclei-mixed", "nuclei-w8a8")
    return [compile_model(models.path(name), array="sim", out=folder / name).path for name in names]


@pytest.fixture(scope="module")
def report_url(builds: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    """A report with a picture, whose network and first layer have a name that tries to run a script."""
    start = reports.read(builds[0])
    rows = [dict(row) for row in start.report["layers"]]
    rows[1]["name"] = HOSTILE
    picture = Picture(mask_png(np.eye(64, dtype=np.uint8), Labels()), HOSTILE)
    report = reports.Report(builds[0], {**start.report, "model": HOSTILE, "layers": rows}, (picture,))
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(report.contents("pl")["report.html"])
    return path.as_uri()


@pytest.fixture(scope="module")
def compare_url(builds: list[Path], tmp_path_factory: pytest.TempPathFactory) -> str:
    found = compare((HOSTILE, "w8"), [reports.read(build).report for build in builds])
    path = tmp_path_factory.mktemp("page") / "compare.html"
    path.write_text(compare_html(found))
    return path.as_uri()


def colours(path: Path) -> tuple[int, float]:
    """How many colours a picture has, and the mean brightness of its corner, from 0 to 255."""
    pixels = np.asarray(Image.open(path).convert("RGB"))
    return len(np.unique(pixels.reshape(-1, 3), axis=0)), float(pixels[:8, :8].mean())


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("page", ["report", "compare"])
def test_page_is_drawn(page: str, dark: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    url = request.getfixturevalue(f"{page}_url")
    found = browse(url, "window.broken", f"shot:{tmp_path / 'page.png'}", dark=dark)
    clean(found, url)
    assert found["values"] == [None] or found["values"] == [""]
    count, corner = colours(tmp_path / "page.png")
    assert count > 50
    assert corner < 60 if dark else corner > 220


def test_table_sorts_with_mouse_and_keyboard(report_url: str) -> None:
    column = 'heads.findIndex((head) => head.textContent === "cycles")'
    cycles = f'[...document.querySelectorAll("#layers tbody tr")].map((r) => r.cells[{column}].textContent).join(" ")'
    state = f'{HEADS} heads[{column}].getAttribute("aria-sort") + ":" + {cycles}'
    focus = f'{HEADS} heads[{column}].querySelector("button").focus(); document.activeElement.tagName'
    click = f'{HEADS} heads[{column}].querySelector("button").click(); document.querySelector(".said").textContent'
    found = browse(report_url, state, click, state, focus, "key:Return", state, "key:Space", state)
    clean(found, report_url)
    start, said, clicked, tag, entered, spaced = found["values"]
    assert said == "sorted by cycles, descending"
    assert tag == "BUTTON"
    assert start.startswith("none:")
    values = [int(text.replace(",", "")) for text in start[5:].split()]
    for text, order, downward in (
        (clicked, "descending", True),
        (entered, "ascending", False),
        (spaced, "descending", True),
    ):
        before, _, after = text.partition(":")
        assert before == order
        assert [int(v.replace(",", "")) for v in after.split()] == sorted(values, reverse=downward)


def test_every_column_sorts(report_url: str) -> None:
    script = HEADS + (
        "heads.map((head) => { const button = head.querySelector('button'); button.click(); "
        "const one = head.getAttribute('aria-sort'); button.click(); return [one, head.getAttribute('aria-sort'), "
        "heads.filter((h) => h.getAttribute('aria-sort') !== 'none').length, "
        "document.querySelectorAll('#layers tbody tr').length].join(' '); }).join(';')"
    )
    rows = "document.querySelectorAll('#layers tbody tr').length"
    found = browse(report_url, rows, script)
    clean(found, report_url)
    count, states = found["values"]
    for state in states.split(";"):
        first, second, sorted_columns, left = state.split()
        assert {first, second} == {"ascending", "descending"}
        assert sorted_columns == "1"
        assert int(left) == count


def test_boundary_switches_with_the_keyboard(report_url: str) -> None:
    seen = (
        '[...document.querySelectorAll(".card data, .card .at, #layers tfoot data.at")]'
        '.filter((e) => getComputedStyle(e).display !== "none").map((e) => e.textContent).join("|")'
    )
    chosen = 'document.querySelector("input[name=boundary]:checked").value'
    focus = 'document.querySelector("input[name=boundary]:checked").focus(); 1'
    found = browse(report_url, seen, focus, "key:Right", chosen, seen, "key:Right", chosen, seen)
    clean(found, report_url)
    logic, _, ps, with_ps, board, whole = found["values"]
    assert (ps, board) == ("pl_ps", "board")
    assert len({logic, with_ps, whole}) == 3
    assert len(logic.split("|")) == len(with_ps.split("|")) == len(whole.split("|")) == 8


def told_by_python(build: Path, cycle: int) -> str:
    """What the page should say about the array in a cycle, from the recurrence itself."""
    report = json.loads((build / "report.json").read_text())
    program = (build / "program.bin").read_bytes()
    found = record(program, parse_array(report["array"]), load_board(report["board"]).ddr_latency).compute
    i = int(np.searchsorted(found.start, cycle, "right")) - 1
    causes = {
        NAMES["dispatch"]: found.idle[i],
        NAMES[WAITS[found.cause[i]]] if found.cause[i] else "": found.wait[i],
        NAMES["weights"]: found.weights[i],
        NAMES["reload"]: found.reload[i],
        NAMES[WALK]: found.walk[i],
    }
    parts = ", ".join(f"{name} {cycles:,}" for name, cycles in causes.items() if cycles > 0)
    row = report["layers"][found.layer[i] + 1]
    kind = "RUN" if found.run[i] else "CONFIG"
    return f"cycle {cycle:,}; {kind} of layer {found.layer[i] + 1}, {row['name']}: {parts}"


def test_timeline_zooms_to_single_instructions(report_url: str, builds: list[Path], tmp_path: Path) -> None:
    panel = 'const panel = document.getElementById("zoom"), said = panel.querySelector("output"); '
    select = 'const s = panel.querySelector("select"); s.value = "3"; s.dispatchEvent(new Event("change"));'
    choose = f"{panel} {select} said.textContent"
    closer = f'{panel} for (let i = 0; i < 12; i++) panel.querySelector("[data-act=in]").click(); said.textContent'
    focus = f'{panel} panel.scrollIntoView(); panel.querySelector("canvas").focus(); panel.dataset.ready'
    told = f"{panel} said.textContent"
    point = (
        f'{panel} const c = panel.querySelector("canvas"), r = c.getBoundingClientRect(); '
        'c.dispatchEvent(new PointerEvent("pointermove", {clientX: r.left + r.width / 2, clientY: r.top + 40})); '
        "said.textContent"
    )
    path = tmp_path / "zoom.png"
    found = browse(report_url, told, choose, closer, focus, "key:Right", told, point, f"shot:{path}", "key:Home", told)
    clean(found, report_url)
    whole, layer, near, ready, moved, instruction, _ = found["values"]
    ranges = [[int(n.replace(",", "")) for n in text.split() if n[0].isdigit()] for text in (whole, layer, near, moved)]
    widths = [end - start for start, end in ranges]
    assert ready == "yes"
    assert ranges[0][0] == 0
    assert widths[0] > widths[1] > 40 == widths[2] == widths[3]
    assert ranges[3][0] > ranges[2][0]
    assert instruction.startswith(told_by_python(builds[0], int(instruction.split(";")[0][6:].replace(",", ""))))
    assert colours(path)[0] > 20


def test_the_browser_sees_faults(tmp_path: Path) -> None:
    """What the tests above find absent is found where it is present."""
    path = tmp_path / "faulty.html"
    path.write_text('<img src="missing.png"><script>undefined_name()</script>')
    found = browse(path.as_uri())
    assert any("undefined_name is not defined" in message for message in found["console"])
    assert path.with_name("missing.png").as_uri() in found["requests"]


def test_pages_are_quick(report_url: str) -> None:
    script = "const t = performance.getEntriesByType('navigation')[0]; t.domComplete - t.startTime"
    assert browse(report_url, script)["values"][0] < 3000  # 0.2 s alone; a loaded machine is no reason to fail
