"""When may a transfer start?  The pacer keeps LOADs and STOREs apart, so that the memory is not asked for too much."""

from __future__ import annotations


class Pacer:
    """free: the cycle from which on the next transfer may start.  writer_went: a STORE was the last to start."""

    def __init__(self) -> None:
        self.free = 0
        self.writer_went = True

    def writer_first(self, read: int | None, write: int | None) -> bool:
        """Does the STORE start first?  read, write: when LOAD and STORE could, None if not known yet.

        Of two in one cycle the one whose unit did not start the last goes first.
        """
        if read is None or write is None:
            return read is None
        read, write = max(read, self.free), max(write, self.free)
        return write < read or (write == read and not self.writer_went)

    def start(self, ready: int, cost: int, writer: bool) -> int:
        """A transfer that is ready starts: when.  No other may for `cost` cycles."""
        start = max(ready, self.free)
        self.free, self.writer_went = start + max(cost, 1), writer
        return start
