"""Registers and signed additions that the families share."""

from __future__ import annotations

from amaranth.hdl import Cat, Const, Module, Signal, Value, signed


def delayed(m: Module, value: Value, cycles: int, name: str, *, reset_less: bool = True) -> Value:
    """`value`, `cycles` registers later."""
    for i in range(cycles):
        register = Signal(value.shape(), name=f"{name}_{i + 1}", reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value


def add_or_subtract(a: Value, b: Value, subtract: Value, width: int) -> Value:
    """a + b, or a - b if `subtract`, in one carry chain of one LUT per bit.

    a + b = a - ~b - 1: a bit below the least significant one makes the borrow.  Written as a subtraction, because
    synthesis is free to swap the operands of an addition and then spends a second LUT per bit on the complement.
    """
    add = ~subtract
    high = Cat(Const(0, 1), sign_extended(a, width)) - Cat(add, sign_extended(b, width) ^ add.replicate(width))
    return high[1 : width + 1].as_signed()


def sign_extended(value: Value, width: int) -> Value:
    """`value` in `width` bits; modulo 2^width if it is wider, which is exact where the result is known to fit."""
    return value[:width] if len(value) >= width else Cat(value, value[-1].replicate(width - len(value)))


def signed_register(width: int, name: str) -> Signal:
    return Signal(signed(width), name=name, reset_less=True)
