"""Maps that only the engine has are what the machine computes, so that their activity can be counted."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg import golden
from hwseg.energy.frame import activity_of_program
from hwseg.energy.maps import with_own_maps
from hwseg.ir import Graph
from hwseg.machine.execute import execute
from hwseg.rtl.config import parse_array
from tests.compile.proof import compiled, image_of


def stem(signed: bool) -> Graph:
    b = GraphBuilder(8, 24, 3, seed=7)
    x = b.pool(b.conv("image", 9, 7, 2, signed=signed), 3)
    return b.graph(b.conv(b.average(b.transposed(x, 4, 3, 1)), 3))


def enlarged(signed: bool) -> Graph:
    b = GraphBuilder(6, 20, 3, seed=3)
    return b.graph(b.conv(b.bilinear(b.conv("image", 9, signed=signed)), 3))


@pytest.mark.parametrize("make", [stem, enlarged])
@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("array", ["8x4x4", "16x8x8-dsp"])
def test_own_maps_are_the_machines(make, signed: bool, array: str) -> None:  # type: ignore[no-untyped-def]
    program = compiled(make(signed), parse_array(array))
    image = image_of(program.graph)
    maps = with_own_maps(program, golden.run(program.graph, image).tensors)
    computed = execute(program, image)
    own = set(maps) - set(program.graph.types)
    assert own
    for name in own & set(computed):
        made = [plan.layer.columns for plan in program.plans if plan.layer.output == name]
        for columns in made or [None]:
            part = slice(None) if columns is None else slice(8 * columns[0], 8 * columns[1])
            assert np.array_equal(maps[name][:, part], computed[name][:, part]), name
    activity = activity_of_program(program, [golden.run(program.graph, image).tensors])
    assert len(activity) == len(program.plans) + 1
