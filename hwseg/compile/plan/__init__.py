"""Which strips, passes and chains are cheapest: every layer cut so that it fits the engine's memories.

In: a `Network` of layers, an array, the memory's cycles per word.  Out: `Chain`s of `LayerPlan`s, and the form of the
network that they are for.  Read `plan` first, for the words: source, tile, pass, block, strip.

plan       `LayerPlan`: what a cut is; the source positions that outputs read
problem    `Problem`: a layer before it is cut, and how many rows fit
cost       cycles that a cut is expected to take
search     `plan_layer`: the cheapest cut of a layer alone
chain      `Chain`: layers that run fused; their strips take turns
planner    `Planner`: the cheapest division of a network into chains
variants   `plan_cheapest`: other forms of the network, kept where they save cycles
"""
