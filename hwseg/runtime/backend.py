"""What the driver asks of whatever the accelerator hangs on: a board, a simulator, a fake."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np


class Buffer(Protocol):
    """Physically contiguous memory that the accelerator reaches.

    array: uint8, as the processor sees it, through its cache.  address: of its first byte, as the accelerator sees it.
    """

    @property
    def array(self) -> np.ndarray[Any, Any]: ...

    @property
    def address(self) -> int: ...

    def flush(self, start: int, size: int) -> None:
        """What the processor wrote to these bytes reaches the memory."""

    def invalidate(self, start: int, size: int) -> None:
        """The processor sees what the accelerator wrote to these bytes."""

    def free(self) -> None:
        """Give the memory back; its array must not be used any more."""


class Backend(Protocol):
    """Registers, memory and the interrupt of one accelerator.

    name: for error messages.  grace: seconds that a wait lasts at least, whatever the accelerator's own time.
    """

    @property
    def name(self) -> str: ...

    @property
    def grace(self) -> float: ...

    def read(self, offset: int) -> int:
        """A 32-bit register."""

    def write(self, offset: int, value: int) -> None:
        """A 32-bit register."""

    def allocate(self, size: int) -> Buffer:
        """At least `size` bytes from an address that is a multiple of 4096; HwsegError if there are not so many."""

    def now(self) -> float:
        """Seconds on the clock that times count on: the simulation's is that of the simulated hardware."""

    def wait(self, seconds: float) -> bool:
        """Until the interrupt comes, but no longer than `seconds`; whether it came.

        Without interrupts this returns False early, and the driver looks at the status register instead.
        """

    def close(self) -> None:
        """Give everything back."""
