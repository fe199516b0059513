"""Registers and signed additions that the families share."""

from __future__ import annotations

from typing import Any

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed


def unreset(**widths: Any) -> tuple[Any, ...]:
    """Signals by name and shape that a reset leaves as they are."""
    return tuple(Signal(shape, name=name, reset_less=True) for name, shape in widths.items())


def delayed(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """`value`, `cycles` registers later."""
    for i in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{i + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def add_or_subtract(a: Value, b: Value, subtract: Value, width: int, borrow: Value | None = None) -> Value:
    """a + b, or a - b if `subtract`, in one carry chain of one LUT per bit.

    a + b = a - ~b - 1: a bit below the least significant one makes the borrow.  Written as a subtraction, because
    synthesis is free to swap the operands of an addition and then spends a second LUT per bit on the complement.
    borrow: in its place, ~subtract if nothing comes from bits further down.
    """
    add = ~subtract
    b_bits = sign_extended(b, width).as_unsigned() ^ add.replicate(width)
    high = Cat(Const(0, 1), sign_extended(a, width)) - Cat(add if borrow is None else borrow, b_bits)
    return high[1 : width + 1].as_signed()


def sign_extended(value: Value, width: int) -> Value:
    """`value` in `width` bits; modulo 2^width if it is wider, which is exact where the result is known to fit."""
    if len(value) >= width:
        return value[:width].as_signed()
    sign = value[-1] if value.shape().signed else Const(0, 1)
    return Cat(value, sign.replicate(width - len(value))).as_signed()


def signed_register(width: int, name: str) -> Signal:
    return Signal(signed(width), name=name, reset_less=True)


def gated(word: Value, gate: Value) -> Value:
    """`word` where the gate is 1, else 0."""
    bits = Value.cast(word)
    masked = bits.as_unsigned() & gate.replicate(len(bits))
    return masked.as_signed() if bits.shape().signed else masked


def tree_levels(operands: int) -> int:
    """Registers of `adder_tree`; a single operand has one too."""
    return max(1, (operands - 1).bit_length())


def adder_tree(m: Module, nodes: list[Value], name: str = "node") -> Value:
    """A balanced tree, a register after every level; each adder as wide as its operands need.

    Without registers between them synthesis merges adders into carry-save ones, which take more LUTs, not fewer.
    """
    for level in range(tree_levels(len(nodes))):
        sums = [sum(nodes[i + 1 : i + 2], start=nodes[i]) for i in range(0, len(nodes), 2)]
        nodes = [delayed(m, node, 1, f"{name}_{level}_{i}") for i, node in enumerate(sums)]
    return nodes[0]
