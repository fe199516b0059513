"""The one kind of error a user sees: place, rule, value, cure, in one sentence.

    enc1/Conv_3: groups must be 1, not 4; use a dense convolution

Anything a user can cause (a file, a model, an option, a full disk) raises `HwsegError`; the command line prints it as
one line and exits with 2. Anything else that escapes is a bug of hwseg and shows its traceback.
"""

from __future__ import annotations


class HwsegError(Exception):
    """A fault of the input.  `place`: node, file or option; `rule`: what must hold and what was found; `cure`: what
    to do.
    """

    def __init__(self, place: str, rule: str, cure: str = "") -> None:
        self.place = " ".join(str(place).split())
        self.rule = " ".join(str(rule).split())
        self.cure = " ".join(str(cure).split())
        super().__init__(f"{self.place}: {self.rule}" + (f"; {self.cure}" if self.cure else ""))


def require(condition: bool, place: str, rule: str, cure: str = "") -> None:
    """Raise `HwsegError(place, rule, cure)` unless `condition` holds."""
    if not condition:
        raise HwsegError(place, rule, cure)
