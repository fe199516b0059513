"""Files as public tools write them, from file to gates: every value and every cycle in Verilog, on a small array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.boards import load_board
from hwseg.compile.program import compile_graph
from hwseg.ir import Graph
from hwseg.quant.read.load import load
from hwseg.rtl.config import parse_array
from hwseg.sim.simulate import lay_out, simulate_program
from tests.compile.lower.test_transposed import decoder
from tests.compile.proof import image_of
from tests.quant.handmade import Net
from tests.quant.read.proving import last, leaky, pool, up
from tests.quant.read.qdq import LinearNet, small
from tests.quant.read.test_clipping import clip
from tests.quant.read.test_functions import silu
from tests.quant.read.test_slopes import block, transposed

pytestmark = [pytest.mark.verilator, pytest.mark.xdist_group("simulator")]


def simulated(tmp_path: Path, graph: Graph, array: str = "8x4x4") -> None:
    program = compile_graph(graph, parse_array(array), load_board("zynq7020"))
    lay_out(tmp_path, program)
    result = simulate_program(tmp_path, program, image_of(graph))
    assert result.passed, (result.first_mismatch, result.cycles, result.predicted_cycles)
    assert [x.cycles for x in result.layers] == [x.predicted_cycles for x in result.layers]


def test_a_qdq_file(tmp_path: Path) -> None:
    net = LinearNet((1, 2, 12, 20))
    simulated(tmp_path, load(net.save(tmp_path / "net.onnx", small(net, np.int8))))


def test_a_qdq_file_with_zero_points(tmp_path: Path) -> None:
    """Maps of 9 bits that are pooled, enlarged, joined with another zero point, quantized again and given."""
    net = LinearNet((1, 2, 12, 20))
    a = net.linear(net.linear_conv(net.linear("x", 2**-8, np.uint8, 0, "input"), 2, 5, name="a"), 2**-3, np.uint8, 77)
    low = net.node("MaxPool", a, kernel_shape=[2, 2], strides=[2, 2])
    b = net.linear(net.linear_conv(low, 5, 6, name="b"), 2**-3, np.int8, 50)
    up = net.node("Resize", b, "", net.const("sizes", [1, 1, 2, 2]), mode="nearest", nearest_mode="floor",
                  coordinate_transformation_mode="asymmetric")  # fmt: skip
    joined = net.linear(net.node("Concat", a, up, axis=1), 2**-2, np.int8, -37)
    y = net.linear(net.linear_conv(joined, 11, 2, name="c"), 2**-2, np.uint8, 200)
    simulated(tmp_path, load(net.save(tmp_path / "net.onnx", y)))


@pytest.mark.parametrize(("kernel", "padding", "array"), [(3, 1, "8x4x4"), (4, 1, "8x2x2"), (3, 1, "16x8x8-dsp")])
def test_transposed_convolutions_in_four_phases(tmp_path: Path, kernel: int, padding: int, array: str) -> None:
    b = decoder(6, 20, 9, kernel, padding, signed=kernel == 4)
    simulated(tmp_path, b.graph(b.nodes[-1].output), array)


def test_a_float_network_that_was_quantized(tmp_path: Path) -> None:
    """As `hwseg quantize` exports it: instance normalization replaced, LeakyReLU, branches that share a quantizer."""
    torch = pytest.importorskip("torch")
    pytest.importorskip("brevitas")
    from hwseg.pictures.meaning import NAMES
    from hwseg.quant.convert import convert
    from hwseg.quant.train.export import export_qonnx
    from tests.quant.convert import nets

    module = nets.settled(nets.Small(lambda n: torch.nn.InstanceNorm2d(n, affine=True), torch.nn.LeakyReLU(0.1)))
    converted = convert(module, [nets.pictures(4)])
    assert [one.what for one in converted.fit.replaced]
    export_qonnx(converted.quantized, tmp_path / "net.onnx", (16, 16), NAMES["unit"])
    simulated(tmp_path, load(tmp_path / "net.onnx"))


@pytest.mark.parametrize("slopes", [[0.125], [0.25, -0.5, 1.25, 0, -1]])
def test_leaky_relu(tmp_path: Path, slopes: list[float]) -> None:
    """LeakyReLU and a depthwise convolution, a transposed 3x3, slopes below 0 and above 1, a residual addition."""
    net = Net((1, 2, 12, 20))
    a = block(net, net.image(), slopes)
    b = net.conv(pool(net, a), 5, 5, group=5, name="depthwise", weights=net.weights("d", (5, 1, 3, 3)))
    b = net.quant(b, 2**-3)
    c = net.quant(leaky(net, transposed(net, b), slopes), 2**-3)
    total = net.quant(leaky(net, net.node("Add", a, c), slopes[:1]), 2**-3)
    simulated(tmp_path, load(net.save(tmp_path / "net.onnx", last(net, net.node("Concat", total, c, axis=1), 10))))


@pytest.mark.parametrize("quantizer", [True, False])
def test_an_attention_gate(tmp_path: Path, quantizer: bool) -> None:
    """A sigmoid of a convolution's sums, or of a quantized map; a product joined before its quantizer; SiLU."""
    net = Net((1, 2, 8, 12))
    x = net.image()
    skip = net.quant(net.node("Relu", net.conv(x, 2, 4, name="skip")), 2**-5, signed=0)
    low = silu(net, net.quant(net.conv(pool(net, skip), 4, 5, name="low"), 2**-4))
    raised = up(net, net.quant(low, 2**-5))
    sums = net.conv(raised, 5, 1, 1, name="gate")
    gate = net.quant(net.node("Sigmoid", net.quant(sums, 2**-5) if quantizer else sums), 2**-6, 6, signed=0)
    joined = net.quant(net.node("Concat", net.node("Mul", skip, gate), raised, axis=1), 2**-5)
    simulated(tmp_path, load(net.save(tmp_path / "net.onnx", last(net, joined, 9))))


def test_a_dilated_convolution_a_shuffle_and_a_difference(tmp_path: Path) -> None:
    """Pixels of one parity, four channels put where four pixels are, and a map less another of another scale."""
    net = Net((1, 2, 8, 12))
    x = net.image()
    wide = net.quant(net.conv(x, 2, 4, name="wide", dilations=[2, 2], pads=[2] * 4), 2**-4)
    low = net.quant(net.conv(pool(net, x), 2, 16, 1, name="low"), 2**-3)
    shuffled = net.node("DepthToSpace", low, blocksize=2, mode="CRD")
    total = net.quant(net.node("Sub", wide, shuffled), 2**-3)
    simulated(tmp_path, load(net.save(tmp_path / "net.onnx", last(net, total, 4))))


def test_functions_and_a_gate_of_few_bits(tmp_path: Path) -> None:
    """ReLU6; SiLU, and 1 less a hard sigmoid, both of a quantized map; a gate of three bits for all channels."""
    net = Net((1, 2, 6, 9))
    x = net.quant(clip(net, net.conv(net.image(), 2, 4, name="a")), 2**-4, signed=0)
    bent = net.quant(silu(net, net.quant(net.conv(x, 4, 3, name="b"), 2**-3, 6)), 2**-4, 6)
    hard = net.node("HardSigmoid", net.quant(net.conv(x, 4, 1, 1, name="g"), 2**-4))
    gate = net.quant(net.node("Sub", net.const("one", 1), hard), 2**-3, 3, signed=0)
    gated = net.quant(net.node("Mul", bent, gate), 2**-4)
    simulated(tmp_path, load(net.save(tmp_path / "net.onnx", last(net, gated, 3))))


def test_averages(tmp_path: Path) -> None:
    b = GraphBuilder(8, 20, 3, seed=4)
    x = b.conv("image", 12)
    joined = b.average(b.concat(x, b.conv(x, 4, 1, bits=4)), 7)
    simulated(tmp_path, b.graph(b.conv(b.concat(joined, b.average(b.up(joined), 5)), 4)))


@pytest.mark.parametrize(("kernel", "stride", "array"), [(7, 2, "8x4x4"), (5, 1, "8x2x2"), (7, 2, "16x8x8-dsp")])
def test_stems(tmp_path: Path, kernel: int, stride: int, array: str) -> None:
    """The first layers of a ResNet: a large kernel, then the maximum of 3x3."""
    b = GraphBuilder(8, 24, 3, seed=kernel)
    x = b.pool(b.conv("image", 9, kernel, stride, signed=stride == 1), 3)
    simulated(tmp_path, b.graph(b.conv(b.up(x), 4)), array)


def test_a_depthwise_convolution(tmp_path: Path) -> None:
    b = GraphBuilder(8, 24, 3, seed=1)
    simulated(tmp_path, b.graph(b.conv(b.grouped(b.conv("image", 24), 24), 4, 1)))
