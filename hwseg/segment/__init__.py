"""Pictures of any size become masks: tiles that are exact, on whatever computes them.

In: a network, picture files.  Out: for each a mask in its own format and geometry, and what was computed.
Read `run` first.

    network   what a picture must be brought to, and what an engine is
    packaged  a package's accelerator, on its board or in simulation
    engines   what else computes a tile: golden model, machine, simulated engine
    plan      which files become which, how each is cut
    run       tile after tile, or several at once; interrupted, it goes on where it was
    journal   what is finished of an unfinished run
    write     masks in the format and geometry of their pictures
    measure   area, place and brightness of every object
    told      what is said of it all
    program   the command on a board, which has NumPy alone
"""
