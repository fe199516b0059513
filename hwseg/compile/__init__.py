"""Which program computes the graph: from integers to instructions, weights and addresses, and nothing else.

In: a `Graph`, an array, a board.  Out: a `Program`; pages, energy and folders are made of it elsewhere.  Read `program`
first: `compile_graph` calls the three rooms in order.

    Graph ──lower──> Network of Layers ──plan──> Chains of LayerPlans ──emit──> program, weights, MemoryMap

lower             the graph as layers, each one pass of the engine over the data
plan              how layers are cut to fit the memories, and which run fused
emit              what that is in instructions, parameters and addresses
program           `compile_graph`, `Program`
explain           where each layer's cycles go, and what would help
activation_cost   cycles of a network with other activation bits
"""
