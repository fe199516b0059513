"""Float networks of other people's libraries, trained in plain PyTorch, for `hwseg quantize` to convert."""
