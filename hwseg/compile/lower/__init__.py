"""The integer graph becomes layers: what one pass of the engine does, from operands to stored planes.

    in    `hwseg.ir.Graph`: nodes with integer weights, exact requantizers, proven types
    out   `layers.Network`: `Layer`s in order, and where each stored tensor's planes lie

`lower` walks the nodes once, and each operation has a function that says how the engine does it.  Then the network may
be put into another form of the same meaning, where the planner finds that cheaper (`hwseg.compile.plan.variants`).

    lowering         read first: the table from operation to function, the walk, `lower`
    layers           Operand, Layer, Network: what comes out
    state            what the functions share: views of tensors, sums that wait, layers so far, fresh names
    building         a layer from its weights: shape, sums' intervals, the proof that they fit

    convolution      Conv2d, ConvTranspose2d: sums that wait for their requantizer (kernels beyond 3x3: weights in
                     `shrinking`; phases of transposed ones: in `transposed`)
    enlarging        Upsample2d: a view; Bilinear2d: a 3x3, the edges apart (geometry and weights in `bilinear`)
    pooling          MaxPool2d: stored by the layer that makes the map, of 3x3 from four of 2x2; AveragePool2d: a 3x3
    concatenation    Concat: a view
    requantization   Requantize: a layer of the sums that waited, or a 1x1 of what is stored
    slopes           PRelu: two layers, one of each branch, and a 1x1 over both
    functions        Function: layers of straight pieces, and a 1x1 over them
    products         Product: the bits of one factor, gates for the other, and a 1x1 over them
    addition         Add: a 1x1 over both operands
    head             what the network gives: planes or sums, perhaps computed in the layer before

    residual         an addition moves into the convolution before it
    fold             neighbouring pixels of the picture are stored as channels
    dial             on the graph, before `lower`: the same network with fewer digit planes
"""
