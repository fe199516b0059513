"""A model file becomes the integer graph, and others are asked whether it is the same.

    in    a QONNX, QCDQ or QDQ file, which may be damaged or hostile
    out   `hwseg.ir.Graph`, or `HwsegError` with the node's name, the rule and a cure

Read `load` first; an operation's rule has the stem that it has in `hwseg.golden` and `hwseg.compile.lower`.

    load             the table from ONNX operation to rule, and the walk over the file's nodes
    onnx_file        the file as checked records: everything that is wrong in form ends there
    values           what a tensor is between two Quant nodes: an exact affine function of integer tensors
    builder          the graph so far, which the rules share: values, constants, nodes; quantizing and settling them
    picture          which integers the input is
    axes             where a tensor has channels, rows and columns; `layout`: rules on channels-last maps
    outputs          which tensor the network gives, of several
    quantizer        what a Quant node says
    integers         what QuantizeLinear, Clip and DequantizeLinear say, and what waits between them
    attributes       what other nodes say, checked
    instead          what to use instead of an operation that is not supported
    sizes            sizes of the input that would do, for error messages
    fold             arithmetic on constants, done at once

    requantization   Quant
    quantize_linear  QuantizeLinear, Clip, DequantizeLinear
    convolution      Conv, ConvTranspose
    affine           BatchNormalization, Sub, Div
    addition         Add
    slopes           Relu, LeakyRelu, PRelu
    functions        Sigmoid within the network, Tanh, HardSwish, Gelu ... (`curves`: parts that are such functions)
    products         Mul
    pooling          MaxPool, AveragePool    (`moving`: pooling and enlarging of what is not quantized yet)
    enlarging        Resize, Upsample
    concatenation    Concat
    unchanged        Identity, Dropout, and Slice and Pad that take and add nothing
    tail             Transpose, Reshape, Flatten, Squeeze, Unsqueeze, Cast: the order of what the model gives
    head             Sigmoid, Softmax, ArgMax, Greater, and what the model gives

    referee          tensor by tensor, the golden integers against an executor of floats
    layerwise        ... layer by layer: what an executor rounds otherwise, and how near to a tie
    finn             finn-base's executor, a second referee
"""
