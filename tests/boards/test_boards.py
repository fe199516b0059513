"""Board files: what they say, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from hwseg.boards import (
    HERE,
    NEXTPNR,
    TOOLS,
    VIVADO,
    board_names,
    find_board,
    load_board,
    own_board,
    part_names,
    read_board,
)
from hwseg.errors import HwsegError
from hwseg.rtl.config import parse_array
from hwseg.target.array import beyond, choose_array, doubt, leaves_room
from hwseg.target.resources import estimate

GENERIC = HERE / "zynq7020" / "board.toml"


@pytest.mark.parametrize("name", board_names())
def test_every_board_loads_and_its_clock_is_one_that_its_plls_give(name):
    board = load_board(name)
    assert board.name == name
    assert board.clock_mhz == pytest.approx(board.ps.fclk.mhz, abs=0.01)
    assert (
        board.resources
        == {
            "xc7z010": {"lut": 17600, "lutram": 6000, "ff": 35200, "bram36": 60, "dsp": 80},
            "xc7z020": {"lut": 53200, "lutram": 17400, "ff": 106400, "bram36": 140, "dsp": 220},
        }[board.device]
    )
    assert board.tool == VIVADO
    assert board.tools[NEXTPNR].carry4 == board.lut // 8
    assert not board.file


def test_boards_differ_where_their_makers_say_so():
    z2, zed = load_board("pynq-z2"), load_board("zedboard")
    assert (z2.part, z2.ddr_bits, z2.clock_mhz, z2.ps.fclk.pll) == ("xc7z020clg400-1", 16, 150.0, "ddr")
    assert (zed.part, zed.ddr_bits, zed.ps.fclk.pll) == ("xc7z020clg484-1", 32, "io")
    assert zed.ddr_bytes_per_second > 2 * z2.ddr_bytes_per_second
    assert len(z2.pins.leds) == 4
    assert len(zed.pins.leds) == 8
    cora, zybo = load_board("cora-z7-10"), load_board("zybo-z7-10")
    assert (cora.part, cora.ddr_bits, cora.clock_mhz, cora.ps.fclk.pll) == ("xc7z010clg400-1", 16, 150.0, "ddr")
    assert (zybo.ddr_bits, zybo.ps.fclk.pll, zybo.ps.ddr_last) == (32, "io", 0x3FFFFFFF)
    assert zybo.ddr_bytes_per_second == zed.ddr_bytes_per_second
    assert load_board("microzed-7010").pins.leds == ()


def test_the_boards_of_a_part_are_listed_with_it():
    assert part_names() == ("zynq7010", "zynq7020")
    assert board_names("zynq7010") == ("arty-z7-10", "cora-z7-10", "microzed-7010", "zybo-z7-10")
    assert set(board_names()) == {*part_names(), *board_names("zynq7010"), *board_names("zynq7020")}


@pytest.mark.parametrize("name", board_names())
@pytest.mark.parametrize("tool", TOOLS)
@pytest.mark.parametrize("core", ["table", "merged"])
def test_auto_takes_what_a_tool_is_known_to_route_and_says_where_nobody_knows(name, tool, core):
    board = load_board(name)
    needed, shares = estimate(choose_array("auto", core, board, tool)), {}
    known = board.tools.get(tool)
    if known is not None and known.routed:
        shares = dict(known.routed)
        assert doubt(board, tool) == ""
    else:
        assert f"{tool} is not known to have routed any array on the {board.device}" in doubt(board, tool)
    for resource, available in board.resources.items():
        assert needed[resource] <= shares.get(resource, 1 if resource == "dsp" else 0.9) * available


def test_auto_for_the_open_tool_is_the_array_that_was_routed():
    board = load_board("pynq-z2")
    assert choose_array("auto", "table", board, NEXTPNR).name == "8x4x4"
    assert choose_array("auto", "table", board, VIVADO).name == choose_array("auto", "table", board).name
    assert not leaves_room(parse_array("8x8x8"), board, NEXTPNR)
    assert beyond(parse_array("8x4x4"), board, NEXTPNR) == ""
    said = "8x8x8 is more than nextpnr-xilinx is known to have routed on the xc7z020: 8x4x4 with its top level, "
    assert beyond(parse_array("8x8x8"), board, NEXTPNR).startswith(said)
    assert beyond(parse_array("8x4x4"), board, VIVADO) == "vivado is not known to have routed any array on the xc7z020"
    with pytest.raises(HwsegError, match=r"--for: 'ise' is no tool; use vivado or nextpnr-xilinx"):
        choose_array("auto", "table", board, "ise")
    with pytest.raises(HwsegError, match="use 8x4x4"):
        choose_array("9x4x4", "table", board, NEXTPNR)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("clock_mhz = 160.0", r"clock_mhz must be what ps.fclk gives, 150.000, is 160; choose other divisors"),
        ('part = "xc7z020"', r"part must read like xc7z020clg400-1, is 'xc7z020'"),
        ("[ddr]\nbits = 24", r"ddr.bits must be 16 or 32, is 24"),
        ("[ddr]\naccelerator_bytes = 2147483648", r"accelerator_bytes must fit"),
        ("[ps.fclk]\ndivisors = [0, 1]", r"two integers from 1 to 63, are \[0, 1\]"),
        ('[ps.fclk]\npll = "usb"', r"ps.fclk.pll must be one of io, arm, ddr, is 'usb'"),
        ('[resources]\nlut = "many"', r"resources.lut must be of type int, is 'many'"),
        ("[ddr]\nbytes_per_second = 0.0", r"ddr.bytes_per_second must be positive, is 0.0; compare it with board.toml"),
        ("[resources]\nlut = -1", r"resources.lut must be positive, is -1"),
        ('[ps]\nread_ports = ["HP4"]', r"ps.read_ports must be different ones of HP0, HP1, HP2, HP3, are \['HP4'\]"),
        ('[ps]\nwrite_ports = ["HP2", "HP2"]', r"ps.write_ports must be different ones of .*, are \['HP2', 'HP2'\]"),
        ("[ps]\nread_ports = []", r"ps.read_ports must be different ones"),
        ('[ps]\nwrite_ports = "HP2"', r"ps.write_ports must be of type list, is 'HP2'"),
        ("[pins]\nleds = [1]", r"pins.leds must be package pins"),
        ('[pins]\nleds = ["R14]; exec sh"]', r"pins.leds must be package pins"),
        ('[pins]\nleds = ["R14", "R14"]', r"pins.leds must be package pins, at most 64, each once"),
        ('[pins]\nstandard = "LVCMOS33\\nexec sh"', r"pins.standard must read like LVCMOS33"),
        ('name = "../../etc"', r"name must read like pynq-z2"),
        ('title = "Z\\n[exec sh]"', r"title must read like PYNQ-Z2, on one line"),
        ('title = "$env(HOME)"', r"title must read like PYNQ-Z2, on one line"),
        ("[ps]\nregisters = 0x10000000", r"ps.registers must be a page of general-purpose port 0, is 0x10000000"),
        ("[ps]\ninterrupt = 3", r"ps.interrupt must be from 32 to 1023, is 3"),
        ("[ps]\nddr_last = 0x7FFFFFFF", r"to ps.ddr_last must lie below 0x40000000"),
        ("[ps.fclk]\ndivisors = [true, 7]", r"two integers from 1 to 63"),
        ("[ddr]\nlatency_cycles = 1000000", r"ddr.latency_cycles must be at most 10000"),
        ("clock_mhz = nan", r"clock_mhz must be at most 1e\+15, is nan"),
        ('[tools]\ndefault = "ise"', r"tools.default must be one of vivado, nextpnr-xilinx, is 'ise'"),
        ("[tools.vivado]\nrouted = { lut = 0.5 }", r"must have the entry tools.vivado.source"),
        ("[tools.vivado]\nrouted = { lut = 2.0 }", r"tools.vivado.routed.lut must be a share, is 2"),
        ('[tools.vivado]\nsource = "a\\u2028b"', r"tools.vivado.source must read like 8x4x4: .*, on one line"),
        ("[tools.vivado]\nrouted = { slices = 0.5 }", r"tools.vivado.routed must be of lut, .*, has 'slices'"),
        ("x = " + "[" * 9000, r"is not TOML"),
        ("x = " + "9" * 9000, r"is not TOML"),
        ("name = ", r"is not TOML"),
        # Hexadecimal integers of any length are TOML, but Python does not write such: no sentence could quote them.
        ("clock_mhz = 0x" + "F" * 9000, r"is not TOML"),
        ("part = 0x" + "F" * 9000, r"is not TOML"),
        ("[pins]\nleds = [0x" + "F" * 9000 + "]", r"is not TOML"),
        ('part = "xc7z020clg４００-1"', r"part must read like xc7z020clg400-1"),
        ("[pins]\nleds = [" + "1," * 9000 + "]", r"pins.leds must be package pins, at most 64, each once"),
        ("[ddr]\nbytes_per_second = 1e-300", r"ddr.bytes_per_second must be at least 1e\+06, is 1e-300"),
        ("[pins]\nled = []", r"must not have the entry pins.led, which no board has; compare it with board.toml"),
        ("[ps]\nregister = 0x40000000", r"must not have the entry ps.register, which no board has"),
        ('"ps.fclk.divisors" = [10, 1]', r"must not have the entry ps.fclk.divisors, which no board has"),
        ("[tools.ise.routed]\nlut = 0.5", r"must not have the entry tools.ise.routed.lut, which no board has"),
        ("[colours]", r"must not have the entry colours, which no board has"),
    ],
)
def test_a_wrong_board_file_is_refused_with_file_entry_and_value(line: str, sentence: str, tmp_path: Path):
    own = tmp_path / "mine.toml"
    own.write_text(line + "\n")
    with pytest.raises(HwsegError, match=sentence) as caught:
        read_board(own, GENERIC)
    assert caught.value.place == str(own)


@pytest.mark.parametrize("name", board_names())
def test_reads_and_writes_meet_the_ddr_controller_at_different_ports(name):
    """HP0 and HP1 share one of its ports, HP2 and HP3 the other."""
    ps = load_board(name).ps
    pairs = [{int(port[2:]) // 2 for port in ports} for ports in (ps.read_ports, ps.write_ports)]
    assert pairs == [{0}, {1}]


def test_an_entry_that_is_missing_is_named(tmp_path):
    generic = tmp_path / "board.toml"
    generic.write_text(re.sub(r"interrupt = .*\n", "", GENERIC.read_text()))
    with pytest.raises(HwsegError, match=r"must have the entry ps\.interrupt"):
        read_board(generic, generic)


OWN = """name = "mine"
part = "xc7z010clg225-1"
clock_mhz = 100.0

[ps.fclk]
pll = "io"
divisors = [10, 1]
"""


def test_a_board_file_of_ones_own_says_only_what_is_different_from_its_part(tmp_path):
    path = tmp_path / "my-board.toml"
    path.write_text(OWN)
    board = find_board(str(path))
    assert (board.name, board.title, board.part, board.clock_mhz) == ("mine", "mine", "xc7z010clg225-1", 100)
    assert board.resources == load_board("zynq7010").resources
    assert board.file == OWN.encode()
    assert own_board(board.file, "copy") == board
    assert board.at(125.0, "x").file == board.file
    assert find_board("pynq-z2") is load_board("pynq-z2")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (OWN.replace("mine", "pynq-z2"), r"must have a name of its own, pynq-z2 is one of hwseg's boards; choose an"),
        (OWN.replace('name = "mine"', ""), r"must have the entry name; give the board a name"),
        (OWN.replace("part", "chip"), r"must have the entry part, which reads like xc7z020clg400-1"),
        ('part = ["xc7z020clg400-1"]', r"must have the entry part"),
        (
            OWN.replace("xc7z010", "xc7z045"),
            r"must have the entry ddr\.bits; compare it with boards/zynq7020",
        ),
        ("\x00", r"is not TOML"),
        ("\udcff", r"is not TOML"),
        ("#" * ((1 << 16) + 1), r"must have at most 65536 bytes"),
        (OWN + "[" + ".".join("a" * 9000) + "]", r"is not TOML"),
        (OWN.replace('"xc7z010clg225-1"', "0x" + "F" * 9000), r"is not TOML"),
    ],
)
def test_a_wrong_board_file_of_ones_own_is_refused(text, sentence, tmp_path):
    path = tmp_path / "my-board.toml"
    path.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(HwsegError, match=sentence) as caught:
        find_board(str(path))
    assert caught.value.place == str(path)


def test_a_board_file_that_is_not_there_or_no_file_is_refused(tmp_path):
    (tmp_path / "folder.toml").mkdir()
    for name in ("none.toml", "folder.toml", "a\0.toml"):
        with pytest.raises(HwsegError, match=r"must be a board file that can be read; check the path"):
            find_board(str(tmp_path / name))


@pytest.mark.parametrize("name", board_names())
def test_the_clock_below_is_the_fastest_that_is_not_above(name):
    board = load_board(name)
    clocks = sorted({pll / n for pll in board.ps.plls.values() for n in range(1, 64)})
    for asked in (1.3, 50.65, 99.99, 117.0, 149.9999, 150.0, 333.3):
        found = board.below(asked, "x").ps.fclk.mhz
        assert found <= asked
        assert not any(found + 0.02 < clock <= asked for clock in clocks)
    with pytest.raises(HwsegError, match=rf"no clock of {name}, all from 1 MHz on, is as slow as 0.9 MHz"):
        board.below(0.9, "x")
    assert board.below(1e9, "x").ps.fclk.mhz <= 1000


def test_changed_bytes_of_a_board_file_give_a_board_or_a_sentence(tmp_path):
    """What is accepted has nothing that a script would run, and numbers that registers hold."""
    path, accepted = tmp_path / "my-board.toml", 0
    whole = (HERE / "zynq7020" / "zedboard.toml").read_text().replace('"zedboard"', '"mine"').encode()
    for seed in range(300):
        draw = np.random.default_rng(seed)
        content = bytearray(whole)
        for _ in range(draw.integers(1, 4)):
            place = int(draw.integers(len(content)))
            content[place : place + int(draw.integers(0, 3))] = draw.choice(
                np.frombuffer(b"\x00\n\"'[]{}=.$;\\9e-#\xff", np.uint8), int(draw.integers(0, 4))
            ).tobytes()
        path.write_bytes(content)
        try:
            board = find_board(str(path))
        except HwsegError:
            continue
        accepted += 1
        text = board.name + board.title + board.pins.standard + "".join(board.pins.leds)
        assert not set(text) & set('\n\r\0"[]{}$;\\#')
        assert 1 <= board.clock_mhz <= 1000
        assert 0 <= board.ps.ddr_first < board.ps.ddr_last < 1 << 30
    assert accepted > 20
