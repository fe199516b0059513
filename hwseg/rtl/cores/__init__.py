"""Cores: one row-and-pixel crossing of the array each.

FAMILIES   what an engine can be built of: table, table_dsp, merged
CORES      these and their rivals, all behind one signature: grouped, bit_parallel, bit_serial, cascaded
"""

from hwseg.rtl.cores.bit_parallel import BIT_PARALLEL
from hwseg.rtl.cores.bit_serial import BIT_SERIAL
from hwseg.rtl.cores.cascaded import CASCADED
from hwseg.rtl.cores.grouped import GROUPED
from hwseg.rtl.cores.merged import MERGED
from hwseg.rtl.cores.signature import Family
from hwseg.rtl.cores.table import TABLE
from hwseg.rtl.cores.table_dsp import TABLE_DSP

FAMILIES: dict[str, Family] = {family.name: family for family in (TABLE, TABLE_DSP, MERGED)}
CORES: dict[str, Family] = {
    family.name: family for family in (MERGED, GROUPED, TABLE, TABLE_DSP, BIT_PARALLEL, BIT_SERIAL, CASCADED)
}

__all__ = ["CORES", "FAMILIES", "MERGED", "TABLE", "TABLE_DSP", "Family"]
