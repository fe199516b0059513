"""What a build does in a frame, counted: its program's transfers, its data's toggles, its gates' events.

traffic    planes, steps, reloads, words of each layer, from the packed program
engine     events of the engine's parts, from traffic, data and the array's structure
api        `energy_of(build)`: everything from a build folder to an `hwseg.power.EnergyReport`
"""
