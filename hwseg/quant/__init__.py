"""Floating point ends here: pictures become a quantized network, and a model file becomes integers.

    train   pictures in, a network of few bits out, exported as QONNX; needs PyTorch and Brevitas
    read    a QONNX file in, the integer graph out; needs ONNX and NumPy

They meet in the file only: `read` does not know who has trained a model.  Read `read/load.py` and `train/unet.py`
first.
"""
