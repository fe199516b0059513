"""The netlist rule on every array that has a name: minutes each, so not in `make proofs`."""

from __future__ import annotations

import pytest

from hwseg.rtl.config import PRESETS
from hwseg.toolchain import yosys
from tests.bench.test_levels import packaged

pytestmark = [pytest.mark.slow, pytest.mark.skipif(yosys.version() is None, reason="needs pyosys (extra synth)")]


@pytest.mark.parametrize("array", ["8x2x2", "16x8x8", *sorted(PRESETS)])
def test_every_array_keeps_the_rule(array, tmp_path):
    found = packaged(array, tmp_path)
    print(found)
    assert found.holds, str(found)
