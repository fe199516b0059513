"""The quantized networks that are trained, searched, exported: hwseg's own U-Net, and any list of layers.

    architecture         what training, search and export ask of any of them
    layers               where a float becomes an integer with a scale, stated once for all of them
    unet                 the U-Net and its bits
    layered              a network of any layers, with quantizers where integers are to be
    graph, operations    a float network as a list of layers, and what each computes
    maps                 whether the layers that a file lists fit together

Read `architecture` first, then `unet` and `graph`.
"""
