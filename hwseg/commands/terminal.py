"""What commands print: names from files are shown as they are, and never act on the terminal."""

from __future__ import annotations

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
