"""Which array fits a part, and what it costs there.

In: a board, an array's name or "auto".  Out: an `EngineConfig`, estimated resources, the engine's Verilog from the
cache.  Read `array` first.

array         `choose_array`, `require_fit`
resources     LUTs, registers, block RAMs and DSP slices of an array, estimated
engine_text   top.v of an array, made once on a machine
"""
