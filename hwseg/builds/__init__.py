"""A build folder: made, read, simulated, reported on.  What commands and examples call.

In: a model file, options, pictures.  Out: a folder that is whole or absent, and dataclasses of what was found in it.
Read `build` first.

build        `compile_model`: from a model file to a folder
files        the bytes of its JSON files
read         `load_build`: its program compiled anew from the model in it; `read_report`
simulation   `simulate`: its Verilog on a picture; what the last such run found
energy       `energy_of`: what a frame of it costs with the data of given pictures
again        its report made again, with new energies or the simulation's mask
"""
