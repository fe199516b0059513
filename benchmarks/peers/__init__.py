"""The same quantized networks through other people's tools, as far as these run without a vendor's tool."""
