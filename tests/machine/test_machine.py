"""Programs compute their networks: the instruction set in NumPy against the golden model, every stored tensor, ==."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from benchmarks.graphs import GraphBuilder
from hwseg.clock.columns import unpack
from hwseg.compile.emit.parameters import layer_triples
from hwseg.machine.state import MachineError
from hwseg.ops import Requantize
from hwseg.quant.read.load import load
from hwseg.rtl.config import EngineConfig, parse_array
from hwseg.rtl.isa import FORMATS, Opcode
from tests.compile.proof import compiled, differences

ARRAYS = ("8x8x8", "8x4x4", "16x8x8", "8x2x2", "8x1x1", "8x8x8-merged", "24x8x4", "32x4x2")
POLICIES = ("eager", "lazy", "random")


def small(config: EngineConfig) -> EngineConfig:
    """Memories so small that strips, chunks and rings all occur on a small map."""
    return replace(config, bank_words=256, psum_steps=64, out_words=64, pool_words=64, param_slots=16)


@pytest.mark.parametrize("seed", [*range(8), *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(8, 12))])
def test_random_unets(seed: int, tmp_path: Path) -> None:
    models = pytest.importorskip("tests.quant.models")
    graph = load(models.random_unet(seed, tmp_path))
    for offset, policy in enumerate(POLICIES):
        config = parse_array(ARRAYS[(seed + 3 * offset) % len(ARRAYS)])
        for chosen in (config, small(config)):
            assert differences(compiled(graph, chosen), policy, seed) == {}, (chosen, policy)


def single(kernel: int, stride: int, height: int, width: int, channels: int, out: int) -> GraphBuilder:
    b = GraphBuilder(height, width, channels, seed=kernel + 10 * stride + height)
    b.conv("image", out, kernel, stride)
    return b


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(
    ("kernel", "stride", "height", "width", "channels", "out"),
    [
        (3, 1, 1, 1, 1, 1),
        (3, 1, 9, 17, 9, 17),
        (3, 1, 33, 8, 3, 5),
        (3, 2, 9, 17, 5, 9),
        (3, 2, 10, 32, 8, 8),
        (3, 2, 7, 24, 2, 3),
        (1, 1, 5, 30, 70, 9),
        (1, 2, 11, 19, 9, 4),
        (2, 1, 7, 21, 11, 19),
        (2, 1, 3, 9, 70, 3),
    ],
)
def test_single_layers(array: str, kernel: int, stride: int, height: int, width: int, channels: int, out: int) -> None:
    b = single(kernel, stride, height, width, channels, out)
    graph = b.graph(b.nodes[-1].output)
    for config in (parse_array(array), small(parse_array(array))):
        assert differences(compiled(graph, config)) == {}


@pytest.mark.parametrize("array", ["8x8x8", "16x4x2"])
def test_raw_head_of_several_channels(array: str) -> None:
    b = GraphBuilder(11, 21, 3)
    graph = b.graph(b.sums(b.conv("image", 5), 11, 1))
    for config in (parse_array(array), small(parse_array(array))):
        assert differences(compiled(graph, config), "random") == {}


def forms() -> dict[str, GraphBuilder]:
    """What the engine has no instruction for."""
    found: dict[str, GraphBuilder] = {}

    def new(name: str, channels: int = 3) -> GraphBuilder:
        found[name] = GraphBuilder(8, 20, channels, seed=len(found))
        return found[name]

    b = new("upsample of upsample")
    b.conv(b.up(b.up(b.conv("image", 5))), 3)
    b = new("1x1 on an enlarged map")
    b.conv(b.up(b.conv("image", 9)), 3, 1)
    b = new("transposed convolution of an enlarged map")
    b.conv(b.up(b.conv("image", 9)), 3, 2)
    b = new("stride 2 on an enlarged map")
    b.conv(b.up(b.conv("image", 9)), 3, 3, 2)
    b = new("upsample of concat, joined again")
    low = b.pool(b.conv("image", 5))
    b.conv(b.concat("image", b.up(b.concat(low, b.conv(low, 9)))), 4)
    b = new("pool of the input")
    b.conv(b.pool("image"), 4)
    b = new("pool of pool, pool of concat")
    first = b.conv("image", 5)
    b.conv(b.concat(b.pool(b.pool(first)), b.pool(b.pool(b.concat("image", first)))), 3)
    b = new("one map pooled twice and kept")
    first = b.conv("image", 5)
    b.conv(b.concat(b.up(b.pool(first)), b.up(b.pool(first)), first), 3)
    b = new("requantize of stored planes")
    b.requantize(b.conv("image", 10, bits=8), Fraction(3, 17), -8, 7)
    b = new("one sum, two requantizers")
    s = b.sums("image", 6)
    b.concat(b.requantize(s, Fraction(1, 1024), 0, 15), b.requantize(s, Fraction(1, 4096), -128, 127))
    b = new("concat of signed and unsigned, of unlike planes")
    b.conv(b.concat(b.conv("image", 3, bits=4, signed=True), b.conv("image", 11), b.up(b.pool("image"))), 5)
    b = new("1x1 over signed and unsigned")
    b.conv(b.concat(b.conv("image", 3, bits=4, signed=True), b.conv("image", 11)), 5, 1)
    b = new("head is the concat of input and upsampled map")
    b.concat("image", b.up(b.pool(b.conv("image", 2))))
    b = new("head is the input's pool")
    b.up(b.pool("image"))
    b = new("residual")
    x = b.conv("image", 20)
    b.add(x, b.conv(x, 20), Fraction(1, 2), Fraction(1, 2))
    b = new("residual of signed and unsigned, unlike ratio")
    x = b.conv("image", 12)
    b.pool(b.add(x, b.conv(x, 12, signed=True), Fraction(3, 8), Fraction(-5, 7), -100, 90))
    b = new("residual with 16-bit weights")
    x = b.conv("image", 40)
    b.add(x, b.conv(x, 40, signed=True), Fraction(1000, 2003), Fraction(999, 2003))
    b = new("residual of float scales")
    x = b.conv("image", 9)
    b.add(x, b.conv(x, 9), Fraction(0.7310585786300049), Fraction(0.4621171572600098))
    b = new("residual with an enlarged operand")
    x = b.conv("image", 9)
    b.add(x, b.up(b.pool(x)), Fraction(1), Fraction(-1), -128, 127)
    b = new("wide concat", 70)
    b.conv(b.concat("image", b.conv("image", 30)), 20)
    return found


@pytest.mark.parametrize("name", forms())
def test_every_form_of_graph(name: str) -> None:
    b = forms()[name]
    graph = b.graph(b.nodes[-1].output)
    for array in ("8x8x8", "16x4x4", "8x2x1"):
        for config in (parse_array(array), small(parse_array(array))):
            assert differences(compiled(graph, config), "random", seed=1) == {}, config


@pytest.mark.parametrize("shift", range(46, 56))
def test_every_long_shift_of_a_requantizer(shift: int) -> None:
    """Steps where they can be told: ties of a sum that is 0, dyadic factors and others, one slot and many."""
    b = GraphBuilder(3, 9, 5, seed=shift)
    s = b.sums("image", 3)
    factors = (Fraction(1, 1 << shift), Fraction(-1, 1 << shift), Fraction(1, 3 << max(0, shift - 30)))
    ys = [
        b._node(Requantize((f,), (Fraction(offset, 2),), low, high), (s,), low, high)
        for f in factors
        for offset, low, high in ((1, 0, 1), (-1, -1, 0))
    ]
    graph = b.graph(b.concat(*ys))
    program = compiled(graph, parse_array("8x4x4"))
    shifts = {triple.s for plan in program.plans for triple in layer_triples(plan.layer).triples}
    assert shift in shifts
    assert differences(program, "random") == {}


@pytest.mark.parametrize(
    ("m1", "m2"),
    [
        (Fraction(1, 3 << 62), Fraction(1, 100003 << 40)),
        (Fraction(1, (1 << 80) + 1), Fraction(1, (1 << 70) + 1)),
        (Fraction(-1, (1 << 60) + 1), Fraction(1, 99991)),
    ],
)
def test_additions_of_factors_whose_steps_no_sum_reaches(m1: Fraction, m2: Fraction) -> None:
    b = GraphBuilder(3, 9, 3)
    x = b.conv("image", 5)
    graph = b.graph(b.add(x, b.conv(x, 5), m1, m2))
    assert differences(compiled(graph, parse_array("8x4x4"))) == {}


def test_an_accumulator_beyond_32_bits_is_refused_by_the_machine() -> None:
    """The requantizers take 32 bits: the compiler refuses such layers, and the machine such programs."""
    b = GraphBuilder(4, 8, 1)
    program = compiled(b.graph(b.conv("image", 3)), parse_array("8x8x8"))
    rows, _ = unpack(program.program)[1][Opcode.RUN]
    assert len(rows) == 1
    again = with_field(program.program, Opcode.RUN, "first", 0)
    with pytest.raises(MachineError, match="32 bits"):
        differences(replace(program, program=again))


def with_field(program: bytes, opcode: Opcode, field: str, value: int) -> bytes:
    """The program with one field of every such instruction set."""
    words = np.frombuffer(without(program, opcode, field), "<u8").reshape(-1, 4).copy()
    word, bit = divmod(FORMATS[opcode].offsets[field], 64)
    words[words[:, 0] & np.uint64(15) == opcode, word] |= np.uint64(value << bit)
    return words.tobytes()


def without(program: bytes, opcode: Opcode, field: str) -> bytes:
    """The program with one field of every such instruction zero."""
    words = np.frombuffer(program, "<u8").reshape(-1, 4).copy()
    word, bit = divmod(FORMATS[opcode].offsets[field], 64)
    mask = ~np.uint64(((1 << FORMATS[opcode].fields[field]) - 1) << bit & (1 << 64) - 1)
    words[words[:, 0] & np.uint64(15) == opcode, word] &= mask
    return words.tobytes()


@pytest.mark.parametrize(
    ("opcode", "field", "policy"),
    [
        (Opcode.RUN, "wait_loads", "lazy"),
        (Opcode.RUN, "wait_stores", "lazy"),
        (Opcode.LOAD, "wait_runs", "eager"),
        (Opcode.LOAD, "wait_stores", "eager"),
        (Opcode.STORE, "wait_runs", "eager"),
    ],
)
def test_machine_finds_missing_waits(opcode: Opcode, field: str, policy: str) -> None:
    b = GraphBuilder(24, 40, 9)
    program = compiled(b.graph(b.conv(b.conv("image", 20), 20)), small(parse_array("8x8x8")))
    assert differences(program, policy) == {}
    broken = replace(program, program=without(program.program, opcode, field))
    try:
        found = differences(broken, policy)
    except MachineError:
        return
    assert found


@pytest.mark.parametrize(
    ("opcode", "field", "value"),
    [
        (Opcode.LOAD, "ddr", (1 << 32) - 8),
        (Opcode.STORE, "ddr", (1 << 32) - 8),
        (Opcode.LOAD, "ddr_stride", (1 << 24) - 8),
    ],
)
def test_a_transfer_outside_the_memory_is_refused_by_the_machine(opcode: Opcode, field: str, value: int) -> None:
    """In gates it ends the run before it reaches the bus."""
    b = GraphBuilder(24, 40, 9)
    program = compiled(b.graph(b.conv("image", 20)), small(parse_array("8x8x8")))
    with pytest.raises(MachineError, match="outside the memory"):
        differences(replace(program, program=with_field(program.program, opcode, field, value)))


@pytest.mark.slow
def test_counters_wrap() -> None:
    """More than 65,536 RUNs and LOADs: waits stay within half of the counters' range."""
    b = GraphBuilder(192, 192, 8)
    x = "image"
    for _ in range(4):
        x = b.conv(x, 8, bits=2)
    config = replace(parse_array("8x1x1"), bank_words=64, psum_steps=16, out_words=16)
    program = compiled(b.graph(x), config)
    assert (unpack(program.program)[0] == Opcode.RUN).sum() > 1 << 16
    assert differences(program, "random") == {}
