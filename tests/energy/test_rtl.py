"""The estimate's toggles against those that the Verilog simulation of the whole engine counts at the array's edge."""

import pytest

from hwseg import golden
from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.energy.data import feed_width, observe
from hwseg.energy.traffic import traffic
from hwseg.rtl.config import parse_array
from hwseg.sim.simulate import lay_out, simulate_program
from tests.sim.test_features import dim, mixed

pytestmark = [pytest.mark.verilator, pytest.mark.xdist_group("simulator")]

RELOADS = 0.25
"""A table reload toggles the feed, too; the estimate counts it elsewhere.  Layers of few steps have most of it."""


@pytest.mark.parametrize("array", ["8x2x2", "8x4x4"])
def test_operands_toggle_as_often_as_estimated(tmp_path, array):
    graph = mixed(24, 48)
    image = dim(graph, 1, 3)
    program = compile_graph(graph, parse_array(array), load_board("zynq7020"))
    lay_out(tmp_path, program)
    result = simulate_program(tmp_path, program, image)
    assert result.passed
    maps = golden.run(graph, image).tensors
    counts, config = traffic(program.program, program.timing(), program.config), program.config
    simulated, estimated = [], []
    for plan, layer in zip(program.plans, result.layers[1:], strict=True):
        count = counts[plan.index]
        seen = observe(plan, [maps], config, count.last_steps / count.steps, full=True)
        expected = seen.data.feed_toggles * count.plane_cycles * config.pixels * feed_width(config)
        if plan.layer.kernel == 3:
            assert layer.feed_toggles == pytest.approx(expected, rel=RELOADS)
            simulated.append(layer.feed_toggles)
            estimated.append(expected)
        else:
            # 1x1 and transposed convolutions of few channels leave taps that read what a bank held before.
            assert layer.feed_toggles > 0.9 * expected
    assert sum(simulated) == pytest.approx(sum(estimated), rel=0.06)
