"""Benchmarks: what the parts cost and how fast they are, on numbers made in one run.

cores         every core: resources, cycles, activity, routed clock
activations   planes that real activations leave out, and sums that are decided early
levels        of logic between registers of a synthesized netlist, loads of its nets: a rule for timing
netlist       synthesized netlists, simulated 64 streams at a time, with the toggles of their nets
"""
