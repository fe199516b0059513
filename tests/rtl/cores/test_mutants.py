"""Broken cores: every one of these small faults must be seen by the comparison with the models.

A mutant is a module's source with one phrase replaced.  The script is short and fixed, so that a fault that only a long
random run would find counts as a hole in the tests.
"""

from __future__ import annotations

import importlib
import types
from pathlib import Path

import pytest

from hwseg.arith.types import IntType
from tests.rtl.cores.harness import Script, compare

MUTANTS = {
    "merged": [
        (
            "threshold: digit without the rounding bit",
            "digit.eq(v[k:].as_signed() + v[k - 1])",
            "digit.eq(v[k:].as_signed())",
        ),
        ("threshold: rounding by the wrong bit", "+ v[k - 1])", "+ v[k - 2])"),
        ("residual not doubled", "self.residual << 1, plane_sum", "self.residual, plane_sum"),
        ("sign plane not negated", "plane_sum, negate, k + 2", "plane_sum, last & 0, k + 2"),
        (
            "sign plane late by one",
            'negate = delayed(m, self.negate, depth, "negate")',
            'negate = delayed(m, self.negate, depth + 1, "negate")',
        ),
        (
            "last plane early by one",
            'self.last & self.valid, depth, "last"',
            'self.last & self.valid, depth - 1, "last"',
        ),
        (
            "valid late by one",
            'valid = delayed(m, self.valid, depth, "valid"',
            'valid = delayed(m, self.valid, depth + 1, "valid"',
        ),
        (
            "last not gated by valid",
            'delayed(m, self.last & self.valid, depth, "last"',
            'delayed(m, self.last, depth, "last"',
        ),
        ("residual kept after a sum", "                self.residual.eq(0),\n", ""),
        ("Q kept after a sum", "                q.eq(q.init),\n", ""),
        ("Q - 1 kept after a sum", "                q_less.eq(q_less.init),\n", ""),
        (
            "conversion: Q from the wrong word",
            "q.eq(Mux(one | zero, Cat(one, q), Cat(True, q_less)))",
            "q.eq(Mux(one, Cat(one, q), Cat(True, q_less)))",
        ),
        (
            "conversion: digit of Q - 1",
            "Mux(one, Cat(False, q), Cat(zero, q_less))",
            "Mux(one, Cat(False, q), Cat(one, q_less))",
        ),
        ("capture: borrow inverted", "Mux(v[k + 1], q_less, q)", "Mux(v[k + 1], q, q_less)"),
        ("capture: one bit less of v", "Cat(v[: k + 1], Mux(", "Cat(v[:k], 0, Mux("),
        ("sum pulse dropped in idle cycles", "self.sum_valid.eq(last)", "self.sum_valid.eq(last & self.valid)"),
        ("stalls count as planes", "        with m.If(valid):\n", "        with m.If(1):\n"),
        ("weights loaded always", "        with m.If(self.start):\n", "        with m.If(~self.start):\n"),
    ],
    "grouped": [
        ("bias lanes swapped", "gates[int(i >= FIRST_LANES)]", "gates[int(i < FIRST_LANES)]"),
        (
            "bias early by one",
            'delayed(m, lane, first_stage, f"bias_{i}")',
            'delayed(m, lane, first_stage - 1, f"bias_{i}")',
        ),
        ("sign of the wrong digit", "self.digit[1])", "self.digit[0])"),
        ("decision kept after a sum", "known.eq(self.decided & ~ended)", "known.eq(self.decided)"),
    ],
    "table": [
        ("address not XNOR", "~(x ^ head)", "x ^ head"),
        ("relative sign dropped", "heads[a] ^ heads[b]", "heads[b]"),
        ("head sign inverted", "~heads[0])", "heads[0])"),
        ("head sign ignores the sign plane", "head ^ self.negate", "head"),
        ("Gray order broken", "written = ~(entry ^ (entry >> 1))", "written = ~entry"),
        ("parity of the wrong bit", "Cat(entry[0] for entry in entries)", "Cat(entry[1] for entry in entries)"),
        ("lowest bits of a pair carry nothing", "Mux(sign, ~a[0] & b[0], ~(a[0] & b[0]))", "~sign"),
        ("lowest bits of a pair carry as if added", "Mux(sign, ~a[0] & b[0], ~(a[0] & b[0]))", "~(sign | a[0] & b[0])"),
        ("lowest bit of a pair's sum wrong", "entries[a][0] ^ entries[b][0]", "entries[a][0] | entries[b][0]"),
        ("part of S late by one", "self.spec.sum_level) - 1)", "self.spec.sum_level) + 1)"),
        ("part of S left out", 'Mux(begun, delayed(m, shares, late, "shares") << 1, self.total)', "self.total"),
        ("part of S not doubled", 'late, "shares") << 1', 'late, "shares")'),
        ("write-side tables not silent", "self.load.capture if self.makes_sum and t in spec.write_side else ", ""),
        ("S taken late by one", "1 + self.spec.depth + self.behind", "2 + self.spec.depth + self.behind"),
        ("S taken early by one", "1 + self.spec.depth + self.behind", "self.spec.depth + self.behind"),
        ("entries not doubled", "Mux(double, operand << 1, operand)", "Mux(double, operand, operand)"),
        (
            "Gray steps all rise",
            "lane.eq(lane_code(number)), double.eq(twice), subtract.eq(falling)",
            "lane.eq(lane_code(number)), double.eq(twice), subtract.eq(0)",
        ),
        ("loader keeps the old entry", "            m.d.sync += entry.eq(0)\n", "            pass\n"),
        ("half of the sum wrong", "total[1:].as_signed()", "total.as_signed()"),
        ("sign of a tree node late by one", "self.spec.registers(level), f", "self.spec.registers(level) + 1, f"),
        ("reload's write starts late", "writing | (step == LANES)", "writing"),
    ],
    "table_dsp": [
        ("first plane adds the old sum", "self.valid & ~self.first, ", "self.valid, "),
        ("residual not doubled", "dsp.p[: len(self.sum)] << 1", "dsp.p[: len(self.sum)]"),
        ("sign plane not negated", "self.feed[-1] ^ (self.negate & self.valid)", "self.feed[-1]"),
        ("sign of the slice's difference late by one", 'registers, "relative"', 'registers + 1, "relative"'),
        (
            "operands of the difference swapped",
            "dsp.d.eq(a),\n            dsp.a.eq(b)",
            "dsp.d.eq(b),\n            dsp.a.eq(a)",
        ),
        ("mode of the first plane late by one", 'registers + 1, "later"', 'registers + 2, "later"'),
        ("sum early by one", 'self.latency, "last"', 'self.latency - 1, "last"'),
        ("stalls count as planes", "self.valid | self.load.capture if", "self.valid | ~self.valid if"),
        ("S never reaches the slice", "self.valid | self.load.capture if", "self.valid if"),
        ("S taken early by one", "Loader, behind=BEHIND", "Loader, behind=BEHIND - 1"),
        ("half of the sum wrong", "self.residual.eq(dsp.p[1:])", "self.residual.eq(dsp.p)"),
    ],
    "bit_serial": [
        ("shift kept after a sum", "            m.d.sync += shift.eq(0)\n", "            pass\n"),
        ("no shift", "plane_sum.as_signed() << shift if", "plane_sum.as_signed() if"),
        ("negate early by one", 'self.negate, depth + 1, "negate"', 'self.negate, depth, "negate"'),
    ],
    "bit_parallel": [
        ("sign of words ignored", "word[-1] & self.negate", "0"),
        ("sum early by one", 'self.latency - 1, "done"', 'self.latency - 2, "done"'),
    ],
    "cascaded": [
        ("adder: wrong selection", "(v >= 2)", "(v >= 1)"),
        ("adder: zero residual selects", "(residual != 0) & (v <= -2)", "(v <= -2)"),
        ("back-pressure: stalls not held", "enable.eq(self.valid | ~inside)", "enable.eq(1)"),
        (
            "back-pressure: adders not held",
            "m.d.sync += [late.eq(enable), done_late.eq(done)]",
            "m.d.sync += [late.eq(1), done_late.eq(done)]",
        ),
        (
            "multiplier: digit without the rounding bit",
            "digit.eq(v[k:].as_signed() + v[k - 1])",
            "digit.eq(v[k:].as_signed())",
        ),
        ("total kept after a sum", "[total.eq(0), self.sum.eq(following)]", "[self.sum.eq(following)]"),
    ],
}
EQUIVALENT = {
    "merged": ("self.lanes & self.valid.replicate(len(self.lanes))", "self.lanes"),
    "grouped": ("gates = (self.first & self.valid, self.last & self.valid)", "gates = (self.first, self.last)"),
}
"""No faults: what enters in an idle cycle is not counted, the masks only keep nets from toggling."""

CASES = [pytest.param(f, *m, id=f"{f}-{m[0].replace(' ', '_')}") for f, mutants in MUTANTS.items() for m in mutants]


def mutated(family: str, old: str, new: str):
    """The family's record, made from its module's source with one phrase replaced."""
    original = importlib.import_module(f"hwseg.rtl.cores.{family}")
    source = Path(original.__file__).read_text()
    assert source.count(old) >= 1, old
    module = types.ModuleType(original.__name__)
    exec(compile(source.replace(old, new, 1), original.__file__, "exec"), module.__dict__)
    return getattr(module, family.upper())


def script(family) -> Script:
    """Two tiles, sums of all lengths, stalls inside and between."""
    made = Script(family, 14, seed=5)
    for gaps in (0.0, 0.4):
        made.reload([made.random.randint(-128, 127) for _ in range(14)])
        made.random_sums(5, gaps, [IntType(8), IntType(8, signed=True), IntType(3, signed=True), IntType(1)])
    made.reload([5] * 6 + [2] * 6 + [1, 2])  # of the tables on the first level the first is even, the second odd
    made.random_sums(2, 0.0, [IntType(8)])
    made.reload([-128] * 14)
    for kind in (IntType(8), IntType(8, signed=True)):
        made.sum([kind.low if kind.signed else kind.high] * 14, kind)
    made.sum([1] * 14, IntType(1))
    return made


@pytest.mark.parametrize(("family", "fault", "old", "new"), CASES)
def test_every_mutant_is_seen(family, fault, old, new):
    broken = script(mutated(family, old, new))
    try:
        different = compare(broken)
    except AssertionError:  # the loader's contract, checked while it runs
        return
    assert different is not None, f"{fault}: not seen"


@pytest.mark.parametrize("family", MUTANTS)
def test_the_originals_pass_the_same_script(family):
    assert compare(script(mutated(family, "Module", "Module"))) is None


@pytest.mark.parametrize("family", EQUIVALENT)
def test_masks_of_idle_cycles_change_no_output(family):
    assert compare(script(mutated(family, *EQUIVALENT[family]))) is None


def test_there_are_more_than_thirty_mutants():
    assert len(CASES) >= 30
