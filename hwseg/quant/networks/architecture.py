"""What a quantized network of any class offers to training, search and export.

An `Architecture` is a network without its numbers: a frozen dataclass that checkpoints keep as plain values.  It builds
a `Quantized`, the module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol

from torch import Tensor, nn

from hwseg.pictures.table import Quantizer


class Turnable(Protocol):
    """A configuration with bits: a dataclass with the fields `activation_bits` and `weight_bits`.

    shared_activations: activations that have the bits of another one, by name.
    """

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def activations(self) -> tuple[str, ...]: ...

    @property
    def convolutions(self) -> tuple[str, ...]: ...

    @property
    def shared_activations(self) -> Mapping[str, str]: ...

    def activation_bits_of(self, name: str, /) -> int: ...

    def weight_bits_of(self, name: str, /) -> int: ...


class Architecture(Turnable, Protocol):
    """What a network is, but for its numbers: a frozen dataclass with the field `input_bound`.

    table: its name among the tables of a checkpoint.  in_channels, out_channels: of pictures and of logits.

    multiple: sides of pictures are multiples of it.  input_bound: 0 for inputs from 0 to 1; a power of two for signed
    ones.  fewest: numbers that a network of it has at least.
    """

    table: ClassVar[str]

    @property
    def in_channels(self) -> int: ...

    @property
    def out_channels(self) -> int: ...

    @property
    def scales(self) -> str: ...

    @property
    def multiple(self) -> int: ...

    @property
    def input_bound(self) -> int: ...

    @property
    def input_quantizer(self) -> Quantizer: ...

    @property
    def fewest(self) -> int: ...

    def build(self) -> Quantized:
        """A network of it."""

    def at(self, preset: str, /) -> Architecture:
        """The same network at the bits of a preset."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON and checkpoints."""

    def settings(self) -> dict[str, Any]:
        """What a configuration file says of it."""

    def metadata(self) -> dict[str, str]:
        """What an exported file says of it, so that it can be made for pictures of another size."""


class Quantized(nn.Module):
    """A network of `config`; input float [batch, channels, height, width], output logits.

    `layers.set_quantization(network, False)` makes it a float one.
    """

    config: Architecture

    @property
    def folded(self) -> bool:
        """Whether no batch normalization is left."""
        return not any(isinstance(module, nn.BatchNorm2d) for module in self.modules())

    def fold(self) -> None:
        """Merge batch normalization into the convolutions, in place; the float network is unchanged."""

    def weight_of(self, convolution: str) -> Tensor:
        """The weights of a convolution, by its name in `config`."""
        raise NotImplementedError
