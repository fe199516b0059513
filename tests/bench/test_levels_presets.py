"""The netlist rule on every array that has a name."""

from __future__ import annotations

import pytest

from hwseg.bench import levels
from hwseg.boards.zynq7020.top import TOP
from hwseg.rtl.config import PRESETS
from hwseg.toolchain import yosys
from tests.boards.packaged import netlist

pytestmark = [pytest.mark.hours, pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")]


@pytest.mark.parametrize("array", ["8x2x2", "16x8x8", *sorted(PRESETS)])
def test_every_array_keeps_the_rule(array):
    found = levels.find(netlist(array), TOP)
    print(found)
    assert found.holds, str(found)
