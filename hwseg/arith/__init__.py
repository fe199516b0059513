"""What is a number, digit by digit: words, planes, signed digits, sums of products, requantization.

Each module states a recurrence with its bound and latency, computes it one step at a time, and has a fast NumPy form.

    types        words that hold an interval, word lengths of a core
    digits       planes and signed digits of an integer, on-the-fly conversion
    mma          the merged multiply-add: residual, digit selection, drain-free capture
    table        sums of products by look-up (offset-binary distributed arithmetic)
    grouped      the merged form in two stages, with the bias in pseudo-lanes
    online       additions and multiplications from digits to digits, and cascades of them
    functions    ReLU, maximum and requantization of digit strings
    decision     what the planes so far say about the sum
    baseline     bit-parallel and bit-serial sums
    requantize   fixed-point requantization, proven equal to the exact rational

>>> from hwseg.arith.mma import MmaSpec
>>> from hwseg.arith.types import IntType
>>> spec = MmaSpec.of([3, -5, 7], IntType(4))
>>> spec.growth, spec.compute([3, -5, 7], [1, 9, 2])
(5, Trace(residuals=(-5, -10, -13, 4), digits=(0, 0, 0, -1), sum=-28))
>>> spec.compute([3, -5, 7], [1, 9, 2], drain=True).digits
(0, 0, 0, -1, 0, 1, -1, 0, 0)
"""
