"""The smallest recipe that still fails, by trying smaller ones."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.fuzz.net import Unbuildable
from tests.fuzz.recipe import Recipe, build

SECONDS = 60.0


def shrunk(recipe: Recipe, fails: Callable[[Recipe], bool], seconds: float = SECONDS) -> Recipe:
    """A recipe for which `fails` still holds, and for no simpler one that `Recipe.simpler` knows, if time suffices.

    `fails` is asked of recipes that can be built only.
    """
    end = time.monotonic() + seconds
    changed = True
    while changed and time.monotonic() < end:
        changed = False
        for other in recipe.simpler():
            if time.monotonic() > end:
                break
            if buildable(other) and fails(other):
                recipe, changed = other, True
                break
    return recipe


def buildable(recipe: Recipe) -> bool:
    try:
        build(recipe)
    except Unbuildable:
        return False
    return True
