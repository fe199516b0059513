"""hwseg: from a quantized PyTorch U-Net to Verilog that a simulator proves right, on a Zynq-7020."""

__version__ = "0.1.0"
