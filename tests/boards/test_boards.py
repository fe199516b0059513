"""Board files: what they say, and what is refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from hwseg.boards import HERE, board_names, load_board, read_board
from hwseg.errors import HwsegError

GENERIC = HERE / "zynq7020" / "board.toml"


@pytest.mark.parametrize("name", board_names())
def test_every_board_loads_and_its_clock_is_one_that_its_plls_give(name):
    board = load_board(name)
    assert board.name == name
    assert board.device == "xc7z020"
    assert board.clock_mhz == pytest.approx(board.ps.fclk.mhz, abs=0.01)
    assert board.resources == {"lut": 53200, "lutram": 17400, "ff": 106400, "bram36": 140, "dsp": 220}


def test_boards_differ_where_their_makers_say_so():
    z2, zed = load_board("pynq-z2"), load_board("zedboard")
    assert (z2.part, z2.ddr_bits, z2.clock_mhz, z2.ps.fclk.pll) == ("xc7z020clg400-1", 16, 150.0, "ddr")
    assert (zed.part, zed.ddr_bits, zed.ps.fclk.pll) == ("xc7z020clg484-1", 32, "io")
    assert zed.ddr_bytes_per_second > 2 * z2.ddr_bytes_per_second
    assert len(z2.pins.leds) == 4
    assert len(zed.pins.leds) == 8


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
        ("name = ", r"is not TOML"),
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
