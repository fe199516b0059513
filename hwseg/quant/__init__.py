"""Floating point ends here: pictures become a quantized network, and a model file becomes integers.

    networks   the networks of few bits: a U-Net, and any list of layers; needs PyTorch and Brevitas
    train      pictures in, a trained network out, exported as QONNX
    convert    somebody's float network in, a network of layers out
    read       a QONNX file in, the integer graph out; needs ONNX and NumPy

They meet `read` in the file only: it does not know who has made a model.  Read `read/load.py` and `networks/unet.py`
first.
"""
