"""What does each instruction do?  The engine's program executed in NumPy, without gates and without a clock.

In: a packed program and the words of the DDR.  Out: the words that the engine would leave there, and how many digit
planes skipping leaves out.  It knows nothing of layers.  Read `machine` first, then the unit that you look for.  Where
`hwseg.rtl` and `hwseg.clock` have a module of the same name, the one has the unit's gates, the other its time.

machine       `Machine`: the units in turns, until HALT
execute       `execute`: a compiled program on a picture; `checked`: every map compared with the golden model
activity      `skipping`: cycles and planes that a picture saves

instruction   an instruction's fields; `Run`: a RUN under its CONFIG, rows in pairs and one by one
rules         what instructions may say, beyond the widths of their fields
state         the counters in which units meet; memories that start as noise
ddr           the DDR: writes become visible only when a LOAD waits for them
dispatch      the program's pages, a queue before each unit
reader        LOAD, MOVE
writer        STORE
compute       CONFIG, RUN: sums and partial sums
weights       the weight ring and the tile in the tables
banks         input banks: rows in rings, words and values
window        what a RUN multiplies: the lanes of its windows
skip          leading zero planes of those windows
output        a RUN's results: whole maps, scattered ones, pooled ones, scalar products, raw sums
requantize    sums to the output's integers
residual      input words that wait to be added to requantized sums
"""
