"""A float network and pictures in, a model file and a page out: `hwseg quantize` is one call of `run.convert_files`.

run      the whole way, interrupted and resumed
outputs  files that are written, and none of anybody else's
page     what it came to, for people
costs    cycles and energy, by the compiler and the energy model
"""
