"""When does each instruction run?  The engine's cycles, exactly, from the packed program alone.

In: a program's bytes, an `EngineConfig`, the memory's latency.  Out: `Timing`, the cycles of a frame by layer and
cause; `Spans`, every interval of it.  Read `clock` first, then the unit that you look for.  Where `hwseg.rtl` and
`hwseg.machine` have a module of the same name, the one has the unit's gates, the other what it computes.

timing      `predict`: cycles in total and by layer, why the array stood still, words moved
spans       `record`: when each instruction ran
timeline    spans in bins for a drawing, and in a few bytes for zooming

clock       `Clock`: the units in the order of time
columns     a program as columns of fields; what the clock needs of each instruction
constants   cycles of the engine's paths, and of one array's gates
units       counters with the cycle of every count; a unit's queue with its times
dispatch    when each instruction is sent
reader      LOAD, MOVE
writer      STORE
pacer       which of the two may start, and when
compute     CONFIG, RUN, and what they wait for
weights     when weight tiles land, and are in the tables
"""
