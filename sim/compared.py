"""What a run left in memory, against the golden model: how many values are wrong, and where the first is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hwseg import golden
from hwseg.compile.program import Program
from hwseg.layout import HeadLayout, unpack_head, unpack_tensor
from hwseg.ops import MaxPool2d


@dataclass(frozen=True)
class Mismatch:
    """First wrong value of a map."""

    layer: str
    tensor: str
    row: int
    column: int
    channel: int
    expected: int
    found: int

    def __str__(self) -> str:
        return (
            f"{self.layer}: {self.tensor} channel {self.channel}, row {self.row}, column {self.column}: "
            f"expected {self.expected}, found {self.found}"
        )


def head_of(program: Program, dump: bytes) -> np.ndarray:
    memory = program.memory
    image = dump[memory.head_address : memory.head_address + memory.head.bytes]
    return unpack_head(image, memory.head) if isinstance(memory.head, HeadLayout) else unpack_tensor(image, memory.head)


def compared(
    program: Program, expected: golden.Result, dump: bytes, tapped: Mapping[int, np.ndarray]
) -> dict[int, tuple[int, Mismatch | None]]:
    """Wrong values and the first of them, by number of the layer: its map, its pooled map, the head.

    dump: the memory from address 0 on.  tapped: maps as they left the requantizers, by number of the layer.
    """
    memory = program.memory
    found: dict[int, tuple[int, Mismatch | None]] = {}
    for plan in program.plans:
        layer = plan.layer
        checks: list[tuple[str, np.ndarray]] = []
        for name in (layer.output, layer.pooled):
            if name is not None and name in memory.tensors:
                layout = memory.layouts[name]
                checks.append((name, unpack_tensor(dump[memory.tensors[name] :][: layout.bytes], layout)))
        if layer.requantize is None or layer.dot is not None:
            checks.append((memory.head_tensor, head_of(program, dump)))
        if plan.index in tapped and (name := _tapped_name(program, plan.index)) is not None:
            checks.append((name, tapped[plan.index]))
        # Maps that only the engine has show in what is computed from them.
        checks = [(name, values) for name, values in checks if name in expected.tensors]
        made = slice(0, None) if layer.columns is None else slice(*(8 * column for column in layer.columns))
        results = [_difference(layer.name, name, expected.tensors[name], values, made) for name, values in checks]
        # A value that is wrong in memory and at the tap is one wrong value.
        by_name: dict[str, tuple[int, Mismatch | None]] = {}
        for (name, _), result in zip(checks, results, strict=True):
            if name not in by_name or result[0] > by_name[name][0]:
                by_name[name] = result
        first = next((m for _, m in by_name.values() if m), None)
        found[plan.index] = sum(count for count, _ in by_name.values()), first
    return found


def _tapped_name(program: Program, index: int) -> str | None:
    """The tensor that the layer's requantizers produce, before pooling."""
    layer = program.plans[index].layer
    if layer.output is not None:
        return layer.output
    if layer.pooled is None:
        return None
    producer = program.graph.producer.get(layer.pooled)
    # The maxima of a larger window are pooled from a map that only the engine has.
    return producer.inputs[0] if producer is not None and producer.op == MaxPool2d() else None


def _difference(
    layer: str, name: str, expected: np.ndarray, found: np.ndarray, made: slice
) -> tuple[int, Mismatch | None]:
    """Wrong values in the columns that the layer made."""
    differ = expected.astype(np.int64) != found.astype(np.int64)
    differ[:, : made.start] = False
    if made.stop is not None:
        differ[:, made.stop :] = False
    wrong = np.argwhere(differ)
    if not len(wrong):
        return 0, None
    y, x, c = (int(i) for i in wrong[0])
    return len(wrong), Mismatch(layer, name, y, x, c, int(expected[y, x, c]), int(found[y, x, c]))
