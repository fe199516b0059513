"""Cores: one row-and-pixel crossing of the array each, in two interchangeable product generators."""

from hwseg.rtl.cores.merged import MERGED
from hwseg.rtl.cores.signature import Family
from hwseg.rtl.cores.table import TABLE

FAMILIES: dict[str, Family] = {family.name: family for family in (TABLE, MERGED)}

__all__ = ["FAMILIES", "MERGED", "TABLE", "Family"]
