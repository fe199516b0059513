"""What commands print: names from files are shown as they are, and never act on the terminal."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Console
from rich.status import Status
from rich.text import Text


def visible(text: object) -> str:
    """Text whose only control characters are line breaks; others as escapes."""
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in str(text))


class PlainConsole(Console):
    """A console on which `[red]` is five characters: what has a style is a `Text` of that style."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(visible(text), **options)


def console(stderr: bool = False, quiet: bool = False) -> PlainConsole:
    """A console for names of any kind."""
    return PlainConsole(stderr=stderr, quiet=quiet, markup=False, emoji=False)


class Phases:
    """What is going on, on standard error, while the body runs: `with Phases("starting") as say: say("planning")`."""

    def __init__(self, first: str) -> None:
        self._status: Status = console(stderr=True).status(Text(first))

    def __enter__(self) -> Phases:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, phrase: str) -> None:
        self._status.update(Text(visible(phrase)))


class Steps:
    """The steps of hours of work, each a line on standard error, and on a terminal what its tool says last."""

    def __init__(self) -> None:
        self._console = console(stderr=True)
        self._status: Status = self._console.status(Text(""))
        self._step, self._begun = "", 0.0

    def __enter__(self) -> Steps:
        self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._status.stop()

    def __call__(self, step: str, said: str) -> None:
        if step != self._step:
            self._step, self._begun = step, time.monotonic()
            self._console.print(Text(visible(step)))
        minutes, seconds = divmod(int(time.monotonic() - self._begun), 60)
        told = f"{minutes}:{seconds:02d}  {visible(said)}"
        self._status.update(Text(told[: max(20, self._console.width - 4)]))
