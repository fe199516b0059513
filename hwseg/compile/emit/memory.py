"""Where everything lies in the accelerator's DDR: program, weights, parameters, tensors, head."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hwseg.compile.lower.layers import Network
from hwseg.compile.plan.plan import LayerPlan
from hwseg.errors import require
from hwseg.layout import HeadLayout, TensorLayout
from hwseg.rtl.config import EngineConfig

ALIGNMENT = 128


def aligned(address: int) -> int:
    """The next multiple of a burst."""
    return -(-address // ALIGNMENT) * ALIGNMENT


@dataclass(frozen=True)
class MemoryMap:
    """Byte addresses, relative to the base that the driver writes.

    tiles: of each layer's weight tiles by (pass, tile).  parameters: of each layer's slots, pass after pass.
    weights_address, weights_bytes: weights.bin as one piece, tiles of all layers, then parameters.
    """

    weights_address: int
    weights_bytes: int
    parameters_address: int
    tiles: tuple[dict[tuple[int, int], int], ...]
    parameters: tuple[int, ...]
    layouts: dict[str, TensorLayout]
    tensors: dict[str, int]
    input: str
    head_tensor: str
    head: HeadLayout | TensorLayout
    head_address: int
    program_address: int
    """Last, because its size is known last."""

    def located(self, name: str) -> tuple[TensorLayout, int]:
        """A stored tensor's layout and address."""
        return self.layouts[name], self.tensors[name]

    def end(self, program_bytes: int) -> int:
        return self.program_address + aligned(program_bytes)

    def to_json(self, program_bytes: int, config: EngineConfig) -> dict[str, Any]:
        """What simulator, packager and driver read."""
        sums = isinstance(self.head, HeadLayout)
        return {
            "word_bytes": 8,
            "array": config.name,
            "total_bytes": self.end(program_bytes),
            "program": {"address": self.program_address, "bytes": program_bytes, "file": "program.bin"},
            "weights": {
                "address": self.weights_address,
                "bytes": self.weights_bytes,
                "file": "weights.bin",
                "parameters_offset": self.parameters_address - self.weights_address,
            },
            "input": {
                "tensor": self.input,
                "address": self.tensors[self.input],
                "bytes": self.layouts[self.input].bytes,
            }
            | self.layouts[self.input].to_json(),
            "tensors": {
                name: {"address": address, "bytes": self.layouts[name].bytes} | self.layouts[name].to_json()
                for name, address in self.tensors.items()
            },
            "head": {
                "tensor": self.head_tensor,
                "kind": "sums" if sums else "planes",
                "address": self.head_address,
                "bytes": self.head.bytes,
            }
            | self.head.to_json(),
        }


def map_memory(network: Network, plans: Sequence[LayerPlan], config: EngineConfig, ddr_bytes: int) -> MemoryMap:
    """Weights and parameters first, then every stored tensor at its own place: they can all be read afterwards."""
    address = 0
    tiles: list[dict[tuple[int, int], int]] = []
    for plan in plans:
        found = {}
        tile_bytes = 8 * config.stored_words(plan.packed)
        for block in plan.blocks:
            for t in range(len(plan.tiles)):
                for p in block:
                    if t in plan.passes[p].tiles:
                        found[p, t] = address
                        address += tile_bytes
        tiles.append(found)
    parameters_address = address
    parameters = []
    for plan in plans:
        parameters.append(address)
        address += len(plan.passes) * config.rows * 16
    weights_bytes = address
    tensors = {}
    passing = {plan.layer.output for plan in plans if not plan.stored}
    for name, layout in network.tensors.items():
        if name in passing:
            continue
        tensors[name] = aligned(address)
        address = tensors[name] + layout.bytes
    head: HeadLayout | TensorLayout
    if network.sums:
        last = plans[-1].layer
        (height, width, channels), (down, across) = last.shape, network.head_fold
        channels = channels if last.dot is None else 1
        shape = height * down, width * across, channels // (down * across)
        head = HeadLayout(shape, -(-channels // 8), min(8, channels), config.pixels, network.head_fold)
        head_address = aligned(address)
        address = head_address + head.bytes
    else:
        head, head_address = network.tensors[network.head], tensors[network.head]
    program_address = aligned(address)
    require(
        program_address <= ddr_bytes,
        network.name,
        f"needs {program_address >> 20} MB of DDR, the board gives the accelerator {ddr_bytes >> 20} MB",
        "use smaller images or fewer channels",
    )
    return MemoryMap(
        0,
        weights_bytes,
        parameters_address,
        tuple(tiles),
        tuple(parameters),
        dict(network.tensors),
        tensors,
        network.input,
        network.head,
        head,
        head_address,
        program_address,
    )
