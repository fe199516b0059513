"""How long the parts of the engine take: one definition for the gates that wait and for the timing model that predicts.

All figures are clock cycles and follow from the components' own `latency` attributes.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from hwseg.rtl.compute import Compute
from hwseg.rtl.config import ROWS_PER_SET, EngineConfig
from hwseg.rtl.cores import FAMILIES
from hwseg.rtl.dispatch import Dispatcher
from hwseg.rtl.output import OutputSet
from hwseg.rtl.psum import PartialSums
from hwseg.rtl.requantize import Requantizers
from hwseg.rtl.residual import ResidualQueues
from hwseg.rtl.window import Window


@dataclass(frozen=True)
class Latencies:
    """front: compute unit's walk to the encoders' input.  sums: to row 0's core sums.  reload: marker to first plane.
    hold: how long the shadow weights stay still.  completion: a RUN's last cycle to the end of everything it wrote.
    """

    front: int
    sums: int
    reload: int
    hold: int
    completion: int
    dispatch: int


@lru_cache(maxsize=64)
def latencies(config: EngineConfig) -> Latencies:
    family = FAMILIES[config.core]
    front = Compute.latency + Window.latency
    sums = front + family.encoder_latency + family.latency(config.lanes)
    # Raw rows queue up behind each other: at most 8 rows of C/2 words, of which the last step still has some to write.
    raw_tail = ROWS_PER_SET * max(1, config.pixels // 2)
    output = PartialSums.latency + Requantizers.latency + OutputSet.latency + raw_tail
    return Latencies(
        front=front,
        sums=sums,
        reload=family.reload_cycles,
        hold=front + family.encoder_latency + config.rows + family.reload_cycles,
        completion=sums + config.rows + output,
        dispatch=Dispatcher.INTERVAL,
    )


def residual_rows(config: EngineConfig) -> int:
    """Rows that the second set's queue for residual additions holds at the most: a row is put in every cycle, and taken
    as many cycles later as lie between its block's last centre word and its requantizer.

    The centre word is there a cycle before the lanes; a block's first row is put in `ResidualQueues.latency` cycles
    behind it.
    """
    family = FAMILIES[config.core]
    array = family.encoder_latency - family.edge_wait + family.latency(config.lanes)
    taken = 1 + array + ROWS_PER_SET + PartialSums.latency + Requantizers.taking
    return taken - ResidualQueues.latency


def overtakes(config: EngineConfig) -> bool:
    """Whether sums of fewer planes may reach the requantizers while rows of the RUN before still leave.

    A step's rows leave in the `ROWS_PER_SET` cycles behind its last plane; tables that take longer to load keep the
    next RUN's sums away, the merged core's weights do not.  A CONFIG with fewer planes than the one before must drain
    there, and on every array if the RUN behind it loads no tables.
    """
    return latencies(config).reload < ROWS_PER_SET
