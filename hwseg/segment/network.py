"""What a picture must be brought to, and what computes it; needs NumPy alone, so that a board has it too."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from hwseg.pictures.packed import PixelInput
from hwseg.pictures.tiles import Reach, Size
from hwseg.trust.judge import Judge


@dataclass(frozen=True)
class Network:
    """What a picture must be brought to.  shape: of the network's own input [H, W, C].  digest: of what computes.

    reach: of a pixel; None where pictures are scaled to the network's size and never tiled.  said: one sentence on what
    pixels are taken for, where the model's file does not say.  judge: of masks' doubts, where these are asked for.
    """

    name: str
    shape: tuple[int, int, int]
    pixels: PixelInput
    reach: Reach | None
    digest: str
    said: str = ""
    judge: Judge | None = None

    @property
    def layers(self) -> int:
        """Bytes of a pixel of the result: its class, and with a judge how sure that is."""
        return 1 if self.judge is None else 2

    def result(self, sums: np.ndarray, mask: np.ndarray) -> np.ndarray:
        """What an engine gives of a tile, uint8 [H, W, layers], of the head's integers and the mask that they give."""
        layers = [mask] if self.judge is None else [mask, self.judge.confidence(sums, mask)]
        return np.stack(layers, axis=2)

    @property
    def size(self) -> Size:
        return self.shape[:2]


class Engine(Protocol):
    """Computes tiles.  many: how many may be computed at once, in other processes."""

    @property
    def network(self) -> Network: ...

    @property
    def on(self) -> str: ...

    @property
    def many(self) -> bool: ...

    def tile(self, picture: Size) -> Size:
        """Size of its tiles for a picture."""

    def classes(self, integers: np.ndarray) -> np.ndarray:
        """Class, and confidence where that is asked for, of a tile's input [H, W, C]: uint8 [H, W, layers]."""

    def each(self, inputs: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
        """The same of many tiles, in their order; the next may be taken before one is computed."""

    def close(self) -> None:
        """Give back what is held."""
