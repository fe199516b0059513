"""The generated parts of the documents: tables and drawings, from the code that they describe.

    python docs/make_figures.py

rewrites every block between `<!-- generated: NAME -->` and `<!-- end -->`, and the .svg files beside it.  Nothing else
writes them; tests/test_docs.py fails while they differ from the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from html import escape
from pathlib import Path

from hwseg import models
from hwseg.boards import board_names, load_board, part_names
from hwseg.clock import constants as clock
from hwseg.compile.program import compile_graph
from hwseg.power.coefficients import load as load_coefficients
from hwseg.quant.read.load import load
from hwseg.rtl import isa
from hwseg.rtl.config import PRESETS, parse_array
from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.latency import latencies
from hwseg.rtl.psum import PartialSums
from hwseg.rtl.registers import REGISTERS
from hwseg.rtl.requantize import Requantizers
from hwseg.target.array import choose_array
from hwseg.target.resources import estimate

HERE = Path(__file__).parent
DOCUMENTS = (HERE / "architecture.md", HERE / "energy.md", HERE / "zynq7020.md")
ARRAYS = ("16x8x8", "8x8x8", "8x4x4", "8x4x4-merged")
DRAWN = "8x8x8"
"""The array of the timing diagrams."""

Row = tuple[object, ...]


def markdown(header: Row, rows: list[Row]) -> str:
    lines = [header, tuple("---" for _ in header), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


def comments(name: str) -> dict[str, str]:
    """What the source says beside each field of a format."""
    source = inspect.getsource(isa)
    found = re.search(rf"^{name} = (?:Format\(|\{{)(.*?)^[)}}]|^{name} = Format\((.*?)$", source, re.S | re.M)
    assert found is not None
    body = found.group(1) or found.group(2)
    return dict(re.findall(r'^\s+"(\w+)": \d+,(?:  # (.*))?$', body, re.M))


def instruction(fmt: isa.Format) -> str:
    meanings, rows = comments("DESTINATION") | comments(fmt.name), []
    for name, low in fmt.offsets.items():
        width = fmt.fields[name]
        bits = str(low) if width == 1 else f"{low + width - 1}:{low}"
        rows.append((f"`{name}`", bits, width, meanings.get(name, "")))
    return markdown(("field", "bits", "width", "meaning"), rows)


def numbers(kind: type[isa.Opcode] | type[isa.Target] | type[isa.Mode] | type[isa.Scatter]) -> str:
    return ", ".join(f"{member.value} {member.name}" for member in kind)


def enumerations() -> str:
    kinds = (isa.Opcode, isa.Target, isa.Mode, isa.Scatter)
    return markdown(("field", "values"), [(kind.__name__.lower(), numbers(kind)) for kind in kinds])


def registers() -> str:
    rows = [(f"0x{r.offset:02X}", f"`{r.name}`", r.access, r.meaning) for r in REGISTERS]
    return markdown(("offset", "name", "access", "meaning"), rows)


def arrays() -> str:
    """Shapes that follow from a configuration."""
    rows = []
    for name in ARRAYS:
        c = parse_array(name)
        presets = ", ".join(p for p, config in PRESETS.items() if config == c)
        rows.append((name, presets, c.rows * c.pixels, c.lanes, c.peak_macs, c.substeps, c.slices, c.tile_words))
    header = (
        "array",
        "preset",
        "cores",
        "lanes per core",
        "8x8-bit MACs per cycle",
        "substeps",
        "slices",
        "tile words",
    )
    return markdown(header, rows)


def resources() -> str:
    """Estimates beside the board's; `auto` is marked."""
    board = load_board("zynq7020")
    chosen = choose_array("auto", "table", board)
    rows: list[Row] = []
    for name in sorted({*ARRAYS, chosen.name}, key=lambda name: (-parse_array(name).peak_macs, name)):
        config = parse_array(name)
        shares = (f"{v:,} ({100 * v / board.resources[k]:.1f} %)" for k, v in estimate(config).items())
        rows.append((f"{name}, `auto`" if config == chosen else name, *shares))
    return markdown(("array", *(k.upper() for k in board.resources)), rows)


def latency_table() -> str:
    rows = []
    for name in ARRAYS:
        t = latencies(parse_array(name))
        rows.append((name, t.front, t.sums, t.reload, t.hold, t.completion))
    return markdown(("array", "front", "sums", "reload", "hold", "completion"), rows)


def constants() -> str:
    meaning = {
        "LATENCY": "of the memory, if the board says nothing else",
        "QUEUE": "instructions in each queue",
        "DESCRIPTORS": "LOADs waiting for their data",
        "DISPATCH": "cycles from one dispatched instruction to the next",
        "TAKEN": "from a transfer being taken to its start, at the least",
        "COMPARED": "from a counter to a transfer that waits for it",
        "ENTERED": "from a word's arrival at the port to the reader",
        "COUNTED": "from the last word's arrival to the counter that tells of it",
        "LANDED": "from a MOVE's last step to the counter that tells of it",
        "MOVED": "from a weight's arrival to its place in the shadow registers",
        "STORED": "from the end of a STORE's issue to its source being free",
        "ACKNOWLEDGED": "from the end of a STORE's issue to its response, beyond the latency",
        "IDLE": "from the last unit being idle to the end",
    }
    return markdown(("constant", "value", "meaning"), [(f"`{k}`", getattr(clock, k), v) for k, v in meaning.items()])


def boards() -> str:
    """Board files, but the generic one."""
    rows = []
    for name in board_names():
        board = load_board(name)
        if name in part_names():
            continue
        fclk = board.ps.fclk
        clock = f"{fclk.pll.upper()} PLL {fclk.pll_mhz:g} / {fclk.divisors[0]} = {fclk.mhz:.1f} MHz"
        memory = f"{board.ddr_bits}-bit, {board.ddr_bytes_per_second / 1e9:.2f} GB/s"
        array = choose_array("auto", "table", board).name
        rows.append((f"`{name}`", board.title, board.part, memory, f"{board.ps.crystal_mhz:.2f} MHz", clock, array))
    heads = ("name", "board", "part", "DDR3, sustained (assumed)", "crystal", "clock of the engine", "`auto`")
    return markdown(heads, rows)


def addresses() -> str:
    """The system's addresses that matter, from the board file."""
    ps = load_board("pynq-z2").ps
    rows: list[Row] = [
        (f"{ps.ddr_first:#010x} to {ps.ddr_last:#010x}", "DDR that the high-performance ports reach; buffers lie here"),
        (f"{ps.registers:#010x} to {ps.registers + 0xFF:#010x}", "registers of the engine"),
        (
            f"{ps.registers + 0x100:#010x} to {ps.registers + 0x3FFFFFFF:#010x}",
            "DECERR, which is SIGBUS on Linux",
        ),
        (f"interrupt {ps.interrupt}", "IRQF2P[0], a level; shared peripheral interrupt " + str(ps.interrupt - 32)),
    ]
    return markdown(("addresses", "what"), rows)


def memory() -> str:
    """The memory map of a build: the shipped network for the small preset."""
    graph = load(models.path("nuclei-mixed"))
    content = compile_graph(graph, parse_array("small"), load_board("pynq-z2")).memory_json()
    tensors = content["tensors"].values()
    head, first = content["head"], min(t["address"] for t in tensors)
    rows: list[Row] = []
    for what, address, size in (
        (
            "weights and requantizer parameters, `weights.bin`",
            content["weights"]["address"],
            content["weights"]["bytes"],
        ),
        (f"{len(tensors)} feature maps, the input first", first, sum(t["bytes"] for t in tensors)),
        ("the head's sums, which become the mask", head["address"], head["bytes"]),
        ("program, `program.bin`", content["program"]["address"], content["program"]["bytes"]),
    ):
        rows.append((f"{address:#08x}", f"{size:,}", what))
    return markdown(("offset from `base`", "bytes", "what"), [*rows, ("", f"{content['total_bytes']:,}", "together")])


def coefficients() -> str:
    """The coefficient file, entry by entry."""
    rows: list[Row] = [
        (f"`{e.name}`", e.unit, *(f"{v:g}" for v in (e.band.low, e.band.mid, e.band.high)), e.source)
        for e in load_coefficients().entries.values()
    ]
    return markdown(("name", "unit", "low", "middle", "high", "source (all of 2026-11-21)"), rows)


TABLES: dict[str, Callable[[], str]] = {
    "boards": boards,
    "coefficients": coefficients,
    "addresses": addresses,
    "memory": memory,
    "arrays": arrays,
    "resources": resources,
    "enumerations": enumerations,
    "LOAD": lambda: instruction(isa.LOAD),
    "MOVE": lambda: instruction(isa.MOVE),
    "STORE": lambda: instruction(isa.STORE),
    "CONFIG": lambda: instruction(isa.CONFIG),
    "RUN": lambda: instruction(isa.RUN),
    "registers": registers,
    "latencies": latency_table,
    "constants": constants,
}
BLOCK = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.S)


def filled(text: str) -> str:
    """The document with every generated block as the code has it now."""
    return BLOCK.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}\n{found[3]}", text)


class Drawing:
    """An SVG of boxes, arrows and text, on white so that it reads in dark pages too."""

    def __init__(self, width: int, height: int) -> None:
        self.parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif">',
            '<defs><marker id="a" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
            '<path d="M0 0 8 4 0 8z" fill="#444"/></marker></defs>',
            f'<rect width="{width}" height="{height}" fill="#ffffff"/>',
        ]

    def text(self, x: float, y: float, text: str, size: int = 13, anchor: str = "start", colour: str = "#222") -> None:
        self.parts.append(
            f'<text x="{x:g}" y="{y:g}" font-size="{size}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'
        )

    def bar(self, x: float, y: float, w: float, h: float, fill: str = "#eef3f8", edge: str = "#567") -> None:
        self.parts.append(f'<rect x="{x:g}" y="{y:g}" width="{w:g}" height="{h:g}" fill="{fill}" stroke="{edge}"/>')

    def box(self, x: float, y: float, w: float, h: float, *lines: str, fill: str = "#eef3f8") -> None:
        self.bar(x, y, w, h, fill)
        top = y + h / 2 - 8 * (len(lines) - 1) + 4
        for i, line in enumerate(lines):
            self.text(x + w / 2, top + 16 * i, line, 13 if i == 0 else 11, "middle", "#222" if i == 0 else "#555")

    def arrow(self, *points: tuple[float, float]) -> None:
        path = " ".join(f"{x:g},{y:g}" for x, y in points)
        self.parts.append(f'<polyline points="{path}" fill="none" stroke="#444" marker-end="url(#a)"/>')

    def line(self, x1: float, y1: float, x2: float, y2: float, colour: str = "#bbb", dash: str = "") -> None:
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.parts.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" stroke="{colour}"{dashed}/>')

    def svg(self) -> str:
        return "\n".join([*self.parts, "</svg>"]) + "\n"


def engine() -> str:
    """The units and what runs between them."""
    d = Drawing(1000, 560)
    d.box(20, 20, 130, 56, "registers", "AXI4-Lite")
    d.box(230, 20, 190, 56, "dispatcher", "2 pages of 128 instructions")
    d.arrow((150, 48), (230, 48))
    d.text(158, 42, "start", 11)
    d.box(520, 20, 130, 56, "compute queue", "16")
    d.box(730, 20, 200, 56, "compute unit", "CONFIG, RUN: walks steps")
    d.arrow((420, 48), (520, 48))
    d.arrow((650, 48), (730, 48))
    d.box(210, 130, 70, 50, "reads", "16")
    d.box(290, 130, 70, 50, "writes", "16")
    d.arrow((245, 76), (245, 130))
    d.arrow((325, 76), (325, 130))
    d.box(20, 230, 340, 60, "memory unit", "reader: LOAD, MOVE; writer: STORE; pacer; 64-bit AXI")
    d.arrow((245, 180), (245, 230))
    d.arrow((325, 180), (325, 230))
    d.box(20, 350, 130, 50, "DDR", fill="#f6efe2")
    d.arrow((70, 290), (70, 350))
    d.arrow((100, 350), (100, 290))
    d.arrow((190, 230), (190, 100), (235, 100), (235, 76))
    d.text(182, 150, "program pages", 11, "end")

    d.box(430, 130, 150, 60, "input banks", "9 x bank_words x 64 bits")
    d.box(430, 230, 150, 60, "window", "slice, rotate, mask, select")
    d.box(430, 330, 150, 40, "encoders", "one per pixel")
    d.arrow((360, 250), (395, 250), (395, 160), (430, 160))
    d.text(400, 214, "words", 11)
    d.arrow((505, 190), (505, 230))
    d.arrow((505, 290), (505, 330))
    d.arrow((770, 76), (770, 110), (505, 110), (505, 130))
    d.text(610, 104, "9 addresses", 11)
    d.arrow((800, 76), (800, 260), (580, 260))
    d.text(600, 254, "beat: plane, phases, masks", 11)

    lines = "operands pass from row to row,", "one cycle later in each", "a loader and shadow per row"
    d.box(640, 320, 200, 100, "array: R rows x C cores", *lines)
    d.arrow((580, 350), (640, 350))
    d.text(596, 344, "feed", 11)
    d.box(230, 350, 130, 50, "weight ring", "weight_words x 64")
    d.arrow((295, 290), (295, 350))
    d.box(430, 390, 150, 40, "mover", "one word a cycle")
    d.arrow((360, 385), (395, 385), (395, 410), (430, 410))
    d.arrow((580, 410), (640, 410))
    d.text(584, 404, "chain", 11)

    d.box(690, 460, 150, 60, "partial sums", "one memory for 4 rows")
    d.arrow((765, 420), (765, 460))
    d.text(772, 444, "sums", 11)
    d.arrow((900, 76), (900, 490), (840, 490))
    d.text(907, 280, "tokens,", 11)
    d.text(907, 294, "delayed", 11)
    d.box(480, 460, 150, 60, "requantizers", "one set for 8 rows")
    d.arrow((690, 490), (630, 490))
    d.box(200, 460, 220, 60, "output sets", "planes, 2x2 maximum, sums;", "output, loop and pool memories")
    d.arrow((480, 490), (420, 490))
    d.arrow((200, 490), (180, 490), (180, 290))
    d.text(172, 440, "words of STORE, MOVE", 11, "end")
    return d.svg()


BANKS = ("#cfe3f5", "#fbe3c4", "#d5ecd0", "#f5d0d8", "#e3d8f3", "#fff3b8", "#cdeeea", "#e9dccb", "#dfe2e6")


def window() -> str:
    """Bank numbers over the buffer, and a window whose nine words are put back in order."""
    d = Drawing(920, 370)
    d.text(20, 24, "buffer: bank = 3 (row mod 3) + (word column mod 3)", 14)
    rows, columns, cell, left, top = 6, 8, 46, 70, 56
    for r in range(rows):
        d.text(left - 8, top + cell * r + 28, f"row {r}", 11, "end")
        for k in range(columns):
            bank = 3 * (r % 3) + k % 3
            d.bar(left + cell * k, top + cell * r, cell, cell, BANKS[bank], "#999")
            d.text(left + cell * k + cell / 2, top + cell * r + 22, f"{bank}", 15, "middle")
            d.text(left + cell * k + cell / 2, top + cell * r + 38, f"@{r // 3},{k // 3}", 9, "middle", "#555")
    for k in range(columns):
        d.text(left + cell * k + cell / 2, top - 6, f"{k}", 11, "middle")
    centre_row, centre_column = 3, 5
    x, y = left + cell * (centre_column - 1), top + cell * (centre_row - 1)
    d.bar(x, y, 3 * cell, 3 * cell, "none", '#c00" stroke-width="3')
    centre = (
        f"centre row {centre_row} (phase {centre_row % 3}), word column {centre_column} (phase {centre_column % 3})"
    )
    d.text(left, top + cell * rows + 18, centre, 11, colour="#c00")
    d.text(500, 24, "what the nine banks deliver in one cycle", 14)
    bx, by = 500, 56
    for bank in range(9):
        a, b = divmod(bank, 3)
        r = next(q for q in range(centre_row - 1, centre_row + 2) if q % 3 == a)
        k = next(q for q in range(centre_column - 1, centre_column + 2) if q % 3 == b)
        d.bar(bx + 60 * b, by + 46 * a, 60, 46, BANKS[bank], "#999")
        d.text(bx + 60 * b + 30, by + 46 * a + 20, f"bank {bank}", 12, "middle")
        d.text(bx + 60 * b + 30, by + 46 * a + 36, f"@{r // 3},{k // 3}", 9, "middle", "#555")
    d.arrow((bx + 190, by + 69), (bx + 232, by + 69))
    d.text(bx + 211, by + 60, "rotate", 11, "middle")
    wx = bx + 240
    for ky in range(3):
        for j in range(3):
            r, k = centre_row - 1 + ky, centre_column - 1 + j
            bank = 3 * (r % 3) + k % 3
            d.bar(wx + 52 * j, by + 46 * ky, 52, 46, BANKS[bank], "#999")
            d.text(wx + 52 * j + 26, by + 46 * ky + 28, f"{bank}", 15, "middle")
    for i, line in enumerate(
        (
            "@a,b: address base + a * pitch + b * planes + plane.",
            "A residue of 2 beside a centre of phase 0 lies one block before;",
            "a residue of 0 beside a centre of phase 2 one block after.",
            "Each word: 8 pixels x 8 channels of one plane.",
            "24 pixels x 3 rows are there; 8 outputs with kernel 3 need 10 x 3.",
        )
    ):
        d.text(bx, 226 + 20 * i, line, 12)
    return d.svg()


PLANE, SUM, PSUM, REQUANTIZE, PACK = "#cfe3f5", "#e3d8f3", "#fbe3c4", "#d5ecd0", "#f5d0d8"


def step() -> str:
    """One step of a last tile, 8 planes, from the walk to the output memory."""
    config = parse_array(DRAWN)
    t = latencies(config)
    planes, unit, left, top = 8, 15, 150, 60
    encoder = FAMILIES[config.core].encoder_latency
    psum, requantize = PartialSums.latency, Requantizers.latency
    last = planes - 1
    finish = last + t.sums + 7 + psum + requantize
    end = finish + 12
    d = Drawing(left + unit * (end + 2), top + 280)
    d.text(20, 24, f"a step of a RUN that is last, {planes} planes, array {DRAWN}: cycles from the walk's first", 14)
    for cycle in range(0, end + 1, 4):
        d.line(left + unit * cycle, top - 12, left + unit * cycle, top + 215, "#e4e4e4")
        d.text(left + unit * cycle, top - 16, str(cycle), 10, "middle", "#777")

    def bar(line: int, start: int, length: int, fill: str, label: str = "") -> None:
        d.bar(left + unit * start, top + 26 * line, unit * length, 20, fill)
        d.text(left + unit * (start + length / 2), top + 26 * line + 14, label, 10, "middle")

    def name(line: int, text: str) -> None:
        d.text(left - 8, top + 26 * line + 14, text, 11, "end")

    name(0, "walk")
    for plane in range(planes):
        bar(0, plane, 1, PLANE, str(plane))
        bar(0, planes + plane, 1, "#ffffff", str(plane))
    name(1, "lanes (window's output)")
    bar(1, t.front, planes, PLANE, "planes")
    bar(1, t.front + planes, planes, "#ffffff", "next step")
    for line, row in ((2, 0), (3, 1), (4, 2), (5, 7)):
        name(line, "row 7 (rows 3 to 6 alike)" if row == 7 else f"row {row}")
        bar(line, t.front + encoder + row, planes, PLANE, "planes")
        cores_end = last + t.sums + row
        bar(line, t.front + encoder + row + planes, cores_end - (t.front + encoder + row + planes), SUM, "tree")
        bar(line, cores_end, psum, PSUM, "+psum")
        bar(line, cores_end + psum, requantize, REQUANTIZE, "requantize")
    name(6, "block of 8 x 8 values")
    bar(6, last + t.sums + psum + requantize, 8, "#ffffff", "rows 0..7 arrive")
    name(7, "packer, output memory")
    bar(7, finish + 2, planes, PACK, "planes, MSB first")
    notes = (
        f"row r: sums at {last + t.sums} + r, one cycle after its neighbour's.",
        "A next step may begin every 8 cycles, because 8 rows share a set of requantizers and a packer",
        "(every 4 cycles in a RUN that is not last: its sums are only stored).",
    )
    for i, note in enumerate(notes):
        d.text(left, top + 26 * 9 + 18 * i, note, 12)
    return d.svg()


def tiles() -> str:
    """Three RUNs with reload: shadow registers fill while the array works."""
    c = parse_array(DRAWN)
    t, family = latencies(c), FAMILIES[c.core]
    loader = family.encoder_latency - family.reload_lead
    walks = (256, 64, 256)
    scale, left, top = 0.72, 150, 70
    start, starts = 80, []
    for walk in walks:
        starts.append(start)
        start = max(start + t.reload + walk + 2, start + 1 + t.hold + c.tile_words)
    end = starts[-1] + t.reload + walks[-1] + t.completion + 10
    d = Drawing(int(left + scale * end + 90), top + 220)
    title = f"three RUNs with reload on {DRAWN}, walks of {', '.join(map(str, walks))} cycles"
    d.text(20, 24, f"{title}; the shadow is full at cycle 80", 14)
    for cycle in range(0, end, 100):
        d.line(left + scale * cycle, top - 10, left + scale * cycle, top + 160, "#e4e4e4")
        d.text(left + scale * cycle, top - 14, str(cycle), 10, "middle", "#777")
    names = ("compute unit", "loaders", "shadow registers", "runs counter")
    for i, label in enumerate(names):
        d.text(left - 8, top + 36 * i + 18, label, 11, "end")

    def bar(line: int, first: int, length: int, fill: str, label: str = "") -> None:
        d.bar(left + scale * first, top + 36 * line, scale * length, 26, fill)
        d.text(left + scale * (first + length / 2), top + 36 * line + 17, label, 10, "middle")

    bar(2, 80 - c.tile_words, c.tile_words, SUM, "fill 0")
    for number, (begin, walk) in enumerate(zip(starts, walks, strict=True)):
        bar(0, begin + t.reload, walk, PLANE, f"walk {number}")
        bar(0, begin, t.reload, "#ffffff")
        bar(1, begin + t.front + loader, t.reload, PSUM)
        bar(2, begin + 1, t.hold, "#dfe2e6", "hold")
        if number + 1 < len(walks):
            bar(2, begin + 1 + t.hold, c.tile_words, SUM, f"fill {number + 1}")
        done = begin + t.reload + walk + t.completion
        d.arrow((left + scale * done, top + 36 * 3 + 28), (left + scale * done, top + 36 * 3 + 4))
        d.text(left + scale * done + 4, top + 36 * 3 + 24, f"{number} complete", 10)
    shortest = f"1 + {t.hold} + {c.tile_words} = {1 + t.hold + c.tile_words}"
    notes = (
        f"White: reload, {t.reload} cycles without planes; the marker runs down the array before the first plane.",
        f"From reload to reload at least {shortest} cycles: RUN 2 waits because walk 1 is shorter.",
    )
    for i, note in enumerate(notes):
        d.text(left, top + 180 + 18 * i, note, 12)
    return d.svg()


DRAWINGS: dict[str, Callable[[], str]] = {
    "engine.svg": engine,
    "window.svg": window,
    "step.svg": step,
    "tiles.svg": tiles,
}


def main() -> None:
    for name, draw in DRAWINGS.items():
        (HERE / name).write_text(draw())
    for document in DOCUMENTS:
        document.write_text(filled(document.read_text()))


if __name__ == "__main__":
    main()
