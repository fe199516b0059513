"""Memories without contents: Amaranth writes every bit of a memory's initial value, here a third of an engine's time.

All memories of the engine start as zeros that nobody reads, and `hwseg.rtl.emit` drops them from the Verilog anyway.
Amaranth has no option to leave them out, so its RTLIL writer is told for the duration of a conversion; the Verilog is
the same with and without (tests/rtl/test_emit.py).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from amaranth.back import rtlil


@contextmanager
def blank_memories() -> Iterator[None]:
    """Leave out initial values that are zero; nested uses do no harm."""
    emitter: Any = rtlil.ModuleEmitter
    original = emitter.emit_memory

    def emit_memory(self: Any, cell_idx: int, cell: Any) -> None:
        if any(cell.init):
            original(self, cell_idx, cell)

    emitter.emit_memory = emit_memory
    try:
        yield
    finally:
        emitter.emit_memory = original
