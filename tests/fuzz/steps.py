"""All that a printed recipe consists of."""

from tests.fuzz.recipe import Picture, Recipe, build
from tests.fuzz.steps_bent import Bend, Gate
from tests.fuzz.steps_forms import Formed, Shuffle, Zeros
from tests.fuzz.steps_heads import ArgMax, Greater, Sigmoid, Softmax
from tests.fuzz.steps_moves import Average, Enlarge, Interpolate, Join, Pool, Sum
from tests.fuzz.steps_points import Affine, Clipped, Leaky, Normalize, Quantize, Relu, Same
from tests.fuzz.steps_sums import Bias, Conv, Transposed, Weights
from tests.fuzz.steps_tails import Tail

__all__ = [
    "Affine",
    "ArgMax",
    "Average",
    "Bend",
    "Bias",
    "Clipped",
    "Conv",
    "Enlarge",
    "Formed",
    "Gate",
    "Greater",
    "Interpolate",
    "Join",
    "Leaky",
    "Normalize",
    "Picture",
    "Pool",
    "Quantize",
    "Recipe",
    "Relu",
    "Same",
    "Shuffle",
    "Sigmoid",
    "Softmax",
    "Sum",
    "Tail",
    "Transposed",
    "Weights",
    "Zeros",
    "build",
]
