"""`python -m hwseg` is `hwseg`."""

from hwseg.cli import main

main()
