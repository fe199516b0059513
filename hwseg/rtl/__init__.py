"""Which gates do it?  `EngineConfig` in, Verilog out: `engine.verilog(config)`.

Read first: `engine` (what is joined to what), `isa` (what an instruction says), `layouts` (wires that several parts
share).  Then along the way of the data:

    registers, dispatch             what the driver writes; instructions from memory into three queues
    memory_unit                     reader and writer on one port, and the pacer between them
      bus                             the port's channels; transfers cut into bursts
      reader -> landing                 LOAD and MOVE: issue them in order; walk their words to where they belong
                  bank_writes             words into the input banks
      writer                          STORE
    compute                         CONFIG and RUN: what waits for what
      walk                            row, word column, substep and plane of this cycle
      addresses                       of the input banks, of the next window, of everything behind the array
      beats                           what goes into the array's front: beats and tokens
    weights, shadow                 weight tiles on their way to the array
    window, skip                    nine banks to lanes; leading planes that are zero
    array, group, cores             rows of cores
    back                            what follows the array
      psum, requantize, residual      sums of several tiles; sums to activations; an input added on the way out
      output                          the output path of a set and its memories
        packer, pool                    blocks to planes; the 2x2 maximum
        head, raw, blocks               a 1x1 head's sum; raw values; what these share

    config, latency                 the array's sizes; how long the parts take
    emit, cells, block_ram, resets  Verilog with each module once; primitives; resets without long nets

A unit is a module of the Verilog.  A `Part` (`emit`) is a piece of a unit's source: it lies in the unit's module.
"""
