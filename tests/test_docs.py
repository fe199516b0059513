"""The documents say what the code says: generated tables and drawings, links, commands."""

from __future__ import annotations

import importlib
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

from hwseg.rtl import isa
from hwseg.rtl.registers import REGISTERS

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted([ROOT / "README.md", ROOT / "CHANGELOG.md", *DOCS.glob("*.md")])
CURE = "run python docs/make_figures.py"


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("make_figures", DOCS / "make_figures.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_generated_tables_are_those_of_the_code(generator: ModuleType) -> None:
    texts = [document.read_text() for document in generator.DOCUMENTS]
    assert {name for text in texts for _, name, _ in generator.BLOCK.findall(text)} == set(generator.TABLES)
    for text in texts:
        assert generator.filled(text) == text, CURE


def test_drawings_are_those_of_the_code(generator: ModuleType) -> None:
    for name, draw in generator.DRAWINGS.items():
        assert (DOCS / name).read_text() == draw(), f"{name}: {CURE}"


def test_every_field_has_a_row_with_its_bits(generator: ModuleType) -> None:
    text = (DOCS / "architecture.md").read_text()
    for fmt in (isa.LOAD, isa.MOVE, isa.STORE, isa.CONFIG, isa.RUN):
        block = text.split(f"<!-- generated: {fmt.name} -->")[1].split("<!-- end -->")[0]
        low = 0
        for name, width in fmt.fields.items():
            bits = str(low) if width == 1 else f"{low + width - 1}:{low}"
            assert f"| `{name}` | {bits} | {width} |" in block
            low += width
        assert low <= 256
    for register in REGISTERS:
        assert f"| 0x{register.offset:02X} | `{register.name}` | {register.access} |" in text


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", page.read_text()):
        if not target.startswith(("http:", "https:")):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_printed_commands_exist_with_their_options(page: Path) -> None:
    from hwseg.cli import group

    blocks = re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.S | re.M)
    for line in "\n".join(text for language, text in blocks if not language).replace("\\\n", " ").splitlines():
        words = line.split("#")[0].split()
        if len(words) < 2 or words[0] != "hwseg" or not words[1].isalpha():
            continue
        shown = CliRunner().invoke(group, [words[1], "--help"])
        assert shown.exit_code == 0, line
        for option in (word.split("=")[0] for word in words[2:] if word.startswith("-")):
            assert re.search(rf"(^|[\s,/]){option}\b", shown.output), f"{line}: {option}"


NAMED = re.compile(r"(?<![\w./-])((?:hwseg|tests|docs|boards|sim|benchmarks|examples|constraints)/[\w./-]*\w)")
DOTTED = re.compile(r"(?<![\w./-])hwseg(?:\.[A-Za-z_]\w*)+")
NOT_MODULES = {
    "hwseg.fit",
    "hwseg.input",
    "hwseg.output",
    "hwseg.labels",
    "hwseg.seen",
    "hwseg.normalize",
    "hwseg.input_scale",
    "hwseg.bit",
    "hwseg.rules",
    "hwseg.dts",
    "hwseg.dtbo",
    "hwseg.config",
}
"""Keys of a model's metadata and files of a package, by their first two words."""
INSTALLED = {"hwseg/dtbo"}
"""Ends of paths of a board's own."""


def exists(name: str) -> bool:
    """Is there such a module, or such a thing in one?"""
    words = name.split(".")
    for count in range(len(words), 0, -1):
        try:
            found: object = importlib.import_module(".".join(words[:count]))
        except ModuleNotFoundError:
            continue
        for word in words[count:]:
            if not hasattr(found, word):
                return False
            found = getattr(found, word)
        return True
    return False


@pytest.mark.parametrize("page", [page for page in PAGES if page.name != "CHANGELOG.md"], ids=lambda page: page.name)
def test_paths_and_modules_that_a_page_names_exist(page: Path) -> None:
    """The change log tells of what is gone too."""
    text = page.read_text()
    for path in set(NAMED.findall(text)) - INSTALLED:
        assert (ROOT / path).exists() or (ROOT / path).with_suffix(".py").exists(), path
    for name in set(DOTTED.findall(text)):
        assert ".".join(name.split(".")[:2]) in NOT_MODULES or exists(name), name


def test_a_name_that_is_gone_is_seen() -> None:
    assert exists("hwseg.arith.table.TableSpec")
    assert not exists("hwseg.arith.table.Missing")
    assert not exists("hwseg.compile.api")
    assert NAMED.findall("see `tests/rtl/cores`, (hwseg/ops.py).") == ["tests/rtl/cores", "hwseg/ops.py"]


def test_the_picture_is_small() -> None:
    assert (DOCS / "demo.png").stat().st_size < 300_000
