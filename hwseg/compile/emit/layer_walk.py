"""One layer's part of the program: rectangles, blocks of passes and tiles, in the order in which the array works.

What each tile reads, writes and says has modules of its own:

    regions           what sources hold in the banks
    parameter_slots   where the requantizers' parameters lie
    runs              CONFIG and RUN, field by field
    outputs           where results are written, and STOREs
"""

from __future__ import annotations

from hwseg.compile.emit.outputs import Outputs, Places
from hwseg.compile.emit.parameter_slots import ParameterSlots
from hwseg.compile.emit.regions import Regions
from hwseg.compile.emit.runs import Runs, TileRuns, shortest
from hwseg.compile.emit.walk import Walk
from hwseg.compile.plan.plan import LayerPlan, Rectangle


class LayerWalk:
    """One layer's rectangles, blocks, tiles and passes.

    A layer that runs fused (`hwseg.compile.emit.fused`) brings regions and outputs of its own.
    """

    def __init__(
        self, walk: Walk, plan: LayerPlan, regions: Regions | None = None, outputs: Outputs | None = None
    ) -> None:
        self.walk, self.plan, self.config = walk, plan, walk.config
        self.layer = plan.layer
        self.regions = regions or Regions(walk, plan)
        self.outputs = outputs or Outputs(walk, plan)
        self.parameters = ParameterSlots(walk, plan)
        self.runs = Runs(walk, plan)
        self.addresses = walk.memory.tiles[plan.index]

    def run(self) -> None:
        """The whole layer, rectangle after rectangle."""
        for part in self.plan.rectangles():
            self._rectangle(part)
        self.parameters.end()

    def _rectangle(self, rectangle: Rectangle) -> None:
        """All blocks; sources that a later one reads stay, if the plan says so."""
        plan = self.plan
        uses = [{plan.tiles[t].source for p in block for t in plan.passes[p].tiles} for block in plan.blocks]
        for number, block in enumerate(plan.blocks):
            later = set().union(*uses[number + 1 :]) if plan.resident else set()
            self._block(rectangle, block, number, later)
        assert not self.regions.held

    def _block(self, rectangle: Rectangle, block: tuple[int, ...], number: int, later: set[int]) -> None:
        """Tile after tile, each for every pass that wants it; `later`: sources that stay in the banks."""
        plan, passes = self.plan, self.plan.passes
        order = self._tile_order(block, number)
        wanted = {p: [t for t in order if t in passes[p].tiles] for p in block}
        needed = [t for t in order if any(t in wanted[p] for p in block)]
        split = all(passes[p].split for p in block)
        steps = rectangle.rows * plan.run_columns(rectangle.columns, split) * self.config.substeps
        if self.layer.residual is not None:
            for p in block:
                self._adding_pass(rectangle, p)
            return
        last_use = {plan.tiles[t].source: t for t in needed}
        for t in needed:
            source = plan.tiles[t].source
            for i, p in enumerate(block):
                if t in wanted[p]:
                    psum = i * steps if len(wanted[p]) > 1 else 0
                    self._tile(rectangle, p, t, wanted[p], psum)
            if last_use[source] == t and source not in later:
                self.regions.drop(source)

    def _adding_pass(self, rectangle: Rectangle, p: int) -> None:
        """A pass that ends with the tiles whose input it adds, for a few rows at a time: so many wait in the queue."""
        plan, chosen = self.plan, self.plan.passes[p]
        for number in range(len(plan.sources)):
            self.regions.region(rectangle, number)
        tiles, own = list(chosen.tiles), len(chosen.sets)
        for t in tiles[:-own]:
            self._tile(rectangle, p, t, tiles, 0)
        for part in rectangle.bands(plan.chunk_rows):
            psum = (part.y0 - rectangle.y0) * rectangle.columns * self.config.substeps
            for number, t in enumerate(tiles[-own:]):
                self._tile(part, p, t, tiles, psum, number)

    def _tile_order(self, block: tuple[int, ...], number: int) -> list[int]:
        """All tiles; every other block starts with the operand that the block before ended with."""
        plan = self.plan
        order = list(range(len(plan.tiles)))
        if number % 2 and self.layer.low_weights is None:
            keys = list(dict.fromkeys(plan.sources[tile.source].key for tile in plan.tiles))
            rank = {key: -i for i, key in enumerate(keys)}
            order.sort(key=lambda t: rank[plan.sources[plan.tiles[t].source].key])
        return order

    def _tile(
        self, rectangle: Rectangle, p: int, t: int, wanted: list[int], psum: int, added: int | None = None
    ) -> None:
        """A tile for a rectangle; `added`: the set that a residual addition gives its input to."""
        walk, plan, chosen, tile = self.walk, self.plan, self.plan.passes[p], self.plan.tiles[t]
        source, region = plan.sources[tile.source], self.regions.region(rectangle, tile.source)
        self.runs.configure(source, chosen.split, shortest(added))
        first, last = t == wanted[0], t == wanted[-1]
        shift = tile.part == 1 and not any(plan.tiles[u].part for u in wanted[: wanted.index(t)]) and not first
        slot, parameters = self.parameters.slot(p) if last else (0, 0)
        runs = TileRuns(source, region, chosen, tile.slice, first, last, shift, slot, parameters, added)
        reload = walk.tile(plan.index, self.addresses[p, t], (plan.index, p, t), plan.packed)
        row_steps = plan.run_columns(rectangle.columns, chosen.split) * self.config.substeps
        # Other tiles take the whole rectangle; what a last one makes must fit the output memories.
        for part in rectangle.bands(plan.chunk_rows if last else rectangle.rows):
            row = self.regions.first_row(tile.source, rectangle, part)
            places = self.outputs.take(chosen, part) if last else Places()
            self.runs.run(runs, part, row, psum + (part.y0 - rectangle.y0) * row_steps, places, reload)
            reload = False
            if last:
                if self.layer.requantize is not None:
                    walk.written_blocks.append((plan.index, p, part))
                self.outputs.store(chosen, part, places)
        region.space.until = walk.runs
        if last:
            self.parameters.used(p)
