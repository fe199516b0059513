"""Pictures of any size become masks: tiles that are exact, on whatever computes them.

In: a network, picture files.  Out: for each a mask in its own format and geometry, and what was computed.
Read `run` first.

    engines   what computes a tile: golden model, machine, simulated engine, an accelerator
    plan      which files become which, how each is cut
    run       tile after tile, or several at once; interrupted, it goes on where it was
    journal   what is finished of an unfinished run
    write     masks in the format and geometry of their pictures
    measure   area, place and brightness of every object
"""
