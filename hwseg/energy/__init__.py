"""What a program does in a frame, counted: its transfers, its data's toggles, its gates' events.

In: a `Program`, and the integers of every map on some pictures.  Out: a `LayerActivity` for each layer, which
`hwseg.power.estimate.estimate` prices.  Read `frame` first.

frame      `activity_of_program`: everything from a program to its layers' activity
traffic    planes, steps, reloads, words of each layer, from the packed program
data       toggles of lanes and feeds, from feature maps; exact, or a sample
windows    which pixels the array's lanes see, for `data`
engine     events of the engine's parts, from traffic, data and the array's structure
"""
