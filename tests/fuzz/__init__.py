"""A differential fuzzer: random quantized networks, computed in several ways that must agree to the last bit."""
