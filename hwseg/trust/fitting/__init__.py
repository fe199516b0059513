"""What a network's doubts are worth: fitted on validation pictures, measured on others.

in    a graph and pairs of pictures and masks
out   `Trust` for the model's file; measures with intervals, as JSON, tables and pictures

observe      the golden model's integers on pictures, beside the masks that they should give
disturb      pictures made worse: darker, blurred, noisy, covered
measures     calibration, deferral and ranking, from counts of right and wrong pixels by confidence
fit          temperature, bound, the score that tells bad pictures from good ones
evaluate     all measures on pictures that chose nothing
witnesses    other signs of doubt, and what they cost
draw         reliability diagram, risk-coverage curve, scores against Dice
file         a model's file with the metadata
"""
