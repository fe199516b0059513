"""A model in the accelerator's memory."""

from __future__ import annotations

from typing import Any

import numpy as np

from hwseg.errors import require
from hwseg.layout import HeadLayout, pack_into, unpack_head, unpack_tensor
from hwseg.runtime.backend import Backend, Buffer
from hwseg.runtime.model import Model
from hwseg.runtime.package import Package


class Loaded:
    """A model's buffer: program and weights are checked before the first byte is written."""

    def __init__(self, model: Model, package: Package, backend: Backend) -> None:
        images = model.images()
        self.model = model
        self.buffer: Buffer = backend.allocate(model.total_bytes)
        try:
            self._require_reachable(package, backend)
            for image, content in images:
                self.buffer.array[image.address : image.address + image.size] = content
                self.buffer.flush(image.address, image.size)
        except BaseException:
            self.buffer.free()
            raise

    def _require_reachable(self, package: Package, backend: Backend) -> None:
        first, last = self.buffer.address, self.buffer.address + self.model.total_bytes - 1
        board = package.board
        require(
            board.ddr_first <= first and last <= board.ddr_last,
            f"{backend.name}, buffer",
            f"must lie between {board.ddr_first:#x} and {board.ddr_last:#x}, is at {first:#x} to {last:#x}",
            f"use memory of a {board.name}",
        )

    @property
    def input(self) -> np.ndarray[Any, Any]:
        """The input's bytes in the buffer."""
        return self.buffer.array[self.model.input_address :][: self.model.input.bytes]

    def pack(self, integers: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
        """Digit planes of the network's input [H, W, C], into `out` or a new array."""
        packed = np.empty(self.model.input.bytes, np.uint8) if out is None else out
        pack_into(packed, integers, self.model.input)
        return packed

    def sums(self) -> np.ndarray:
        """The head's integers [H, W, C], as the accelerator has left them; a copy, for the next run overwrites them."""
        model = self.model
        self.buffer.invalidate(model.head_address, model.head_bytes)
        view: Any = memoryview(self.buffer.array[model.head_address :][: model.head_bytes])  # type: ignore[arg-type]
        layout = model.head_layout
        return np.array(unpack_head(view, layout) if isinstance(layout, HeadLayout) else unpack_tensor(view, layout))
