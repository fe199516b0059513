"""What is said of a run of `hwseg segment`: a line for each mask, and one for all."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from hwseg.segment.run import Segmented


def lines(on: str, found: Sequence[Segmented], measure: Path | None) -> Iterator[str]:
    """Sizes, tiles, what was computed twice, what was found, and how long it took."""
    for one in found:
        item = one.plan.item
        size = f"{item.size[0]}x{item.size[1]}" + (f", {len(item.pages)} pictures" if len(item.pages) > 1 else "")
        again = f", {one.resumed} of them finished before" if one.resumed else ""
        yield f"{item.source.name}: {size}, {_how(one)}{again}, foreground {one.foreground:.1%}: {item.out}"
        for page, review in zip(item.pages, one.reviews, strict=False):
            yield f"{item.source.name}{f' {page}' if len(item.pages) > 1 else ''}: {review}"
    seconds, computed = sum(one.seconds for one in found), sum(one.computed for one in found)
    speed = f", {computed / seconds / 1e6:.3g} million pixels a second" if seconds > 0 and computed else ""
    yield f"{len(found)} mask{'s' if len(found) != 1 else ''} on {on} in {seconds:.1f} s{speed}"
    if measure is not None:
        yield f"objects: {measure}"


def _how(one: Segmented) -> str:
    grid = one.plan.grid
    if one.plan.scaled:
        return "scaled to the network's size, classes scaled back"
    plural = "s" if one.plan.tiles > 1 else ""
    return (
        f"{one.plan.tiles} tile{plural} of {grid.tile[0]}x{grid.tile[1]}, {grid.surplus:.1%} more pixels than its own"
    )
