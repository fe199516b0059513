"""`python3 -m hwseg.segment PACKAGE INPUT... -o OUT` is `hwseg segment` of a package, where NumPy is all there is."""

import sys

from hwseg.segment.program import main

sys.exit(main(["segment", *sys.argv[1:]]))
