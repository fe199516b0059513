"""Trust: where a mask may be wrong, and which pictures a person should look at, from the head's exact integers.

In: the integers that a network ends with, which the engine delivers anyway, and what was fitted on validation pictures
(metadata `hwseg.trust`).  Out: a confidence map of bytes, the pixels that are deferred to a person, and "accept" or
"review" for the picture, with the reason.  Golden model, simulation and driver give the same bytes.  Read `judge`
first.

NumPy alone, no floating point between the integers and the bytes, so that a board computes the same as a workstation:

    fitted       what was fitted: `Trust`, metadata `hwseg.trust`
    confidence   from the head's integers to bytes, by a table
    scores       one number for a picture: how doubtful it is
    regions      the largest connected area of a map
    judge        all of these for one network

With more:

    graph        a network's digest, and what its metadata say
    fitting      temperature, bounds, measures, rivals; needs the extra `train`
"""
