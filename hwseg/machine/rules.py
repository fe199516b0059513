"""What an instruction may say, beyond the widths of its fields: what the gates can do, and nothing that they cannot.

The machine checks every instruction that it executes; who makes programs at random asks here what is legal.  See
`hwseg.rtl` for why: each rule names what would go wrong there.
"""

from __future__ import annotations

from itertools import pairwise

from hwseg.machine.instruction import Fields
from hwseg.machine.requantize import clamp
from hwseg.machine.state import MachineError
from hwseg.rtl.config import ROWS_PER_PSUM, ROWS_PER_SET, EngineConfig
from hwseg.rtl.isa import MOVE_TAIL, Mode, Scatter, Target
from hwseg.rtl.skip import PLANES

ADDRESSES = 1 << 14
"""Addresses of banks and memories count modulo this."""
LARGEST = {True: (-128, 127), False: (0, 255)}
"""What eight planes hold, signed or not."""


def rule(holds: object, sentence: str) -> None:
    """Raise MachineError unless the rule holds."""
    if not holds:
        raise MachineError(sentence)


def check_config(cfg: Fields, engine: EngineConfig) -> None:
    """CONFIG by itself."""
    rule(cfg["planes"] in range(1, PLANES + 1) and cfg["out_planes"] in range(1, PLANES + 1), "planes are 1 to 8")
    rule(cfg["interval"] >= max(cfg["planes"], ROWS_PER_PSUM), "steps are shorter than their planes, or than four rows")
    sums = cfg["raw"] or cfg["dot"]
    leaving = cfg["raw_rows"] * max(1, engine.pixels // 2) if sums else 0
    last = max(cfg["planes"], ROWS_PER_SET, leaving)
    rule(cfg["last_interval"] >= last, "steps are shorter than their rows take to leave")
    if cfg["skip"]:
        whole = cfg["planes"] == PLANES and cfg["pitch"] % PLANES == 0
        rule(whole and cfg["mode"] != Mode.POINT, "only windows of eight planes are skipped in")
        rule(not cfg["split"] and not cfg["residual"], "nothing is skipped where words are kept for other steps")
    if cfg["split"]:
        rule(engine.splits and cfg["mode"] == Mode.SAME and not sums, "the array cannot make two word columns a step")
    if cfg["residual"]:
        rule(engine.adds and not cfg["split"] and not cfg["raw"], "the array cannot add on the way out")
    rule(cfg["residual"] or not (cfg["double"] or cfg["halve"]), "nothing is doubled or halved without an addition")
    if cfg["raw"]:
        rule(not any(cfg[name] for name in ("keep", "loop", "pool", "dot")), "sums leave alone")
        rule(cfg["raw_rows"] in range(1, ROWS_PER_SET + 1), "1 to 8 rows of sums leave")
        return
    if cfg["dot"]:
        rule(not cfg["keep"] and cfg["raw_rows"] == 1, "a head's sums take the way of one row, and of no map")
    _check_clamps(cfg)


def _check_clamps(cfg: Fields) -> None:
    first, last = clamp(cfg, "first_low", "first_high"), clamp(cfg, "low", "high")
    rule(first[0] <= first[1] and last[0] <= last[1], "a clamp's low is above its high")
    least, most = LARGEST[last[0] < 0]
    rule(least <= last[0] and last[1] <= most, "a clamp's values do not fit eight planes")
    rule(cfg["residual"] or first == last, "one clamp without an addition")


def check_run(run: Fields, cfg: Fields, engine: EngineConfig) -> None:
    """RUN under its CONFIG."""
    rule(run["rows"] and run["columns"], "a RUN of no steps")
    rule(run["tail"] in range(1, 9), "1 to 8 pixels of a row's last word are valid")
    rule(run["slice"] < engine.slices, "a word has no such slice")
    rule(run["row_phase"] < 3 and run["column_phase"] < 3, "a phase counts modulo 3")
    rule(run["scatter"] in list(Scatter), "pixels are scattered to even or to odd places")
    if run["scatter"] or run["residual"]:
        rule(not cfg["split"], "two word columns a step are neither scattered nor put by")
    if cfg["skip"]:
        rule(run["row_address"] % PLANES == run["column_address"] % PLANES == 0, "counts stand beside whole blocks")
        ring = run["wrap_to"] % PLANES == 0 or run["wrap_at"] == ADDRESSES - 1
        rule(ring, "counts stand beside whole blocks")
    if run["residual"]:
        rule(engine.adds and cfg["mode"] == Mode.SAME, "the array cannot put words by")
        rule(not cfg["skip"], "nothing is skipped where words are put by")
        rule(not cfg["signed_in"], "what is put by is added without a sign")
        rule(run["last"] or cfg["interval"] >= ROWS_PER_SET, "a step's rows do not leave before the next step's come")
        passing = run["last"] and cfg["residual"]
        rule(passing or not run["residual_set"], "the second set's words wait no longer than their own sums")
    steps = run["rows"] * (1 + run["pair"]) * run["columns"] * engine.substeps
    alone = run["first"] and run["last"]
    rule(alone or run["psum"] + steps <= engine.psum_steps, "more partial sums than there is room for")
    if run["last"]:
        rule(run["slot"] < engine.param_slots, "there is no such parameter slot")
        _check_outputs(run, cfg, engine, steps)


def _check_outputs(run: Fields, cfg: Fields, engine: EngineConfig, steps: int) -> None:
    """Everything that is written lies in its memory, and rows do not lie over each other."""
    if cfg["raw"] or cfg["dot"]:
        words = steps * cfg["raw_rows"] * max(1, engine.pixels // 2)
        rule(run["out_address"] + -(-words // 2) <= engine.out_words, "sums beyond the output memory")
        rule(not run["scatter"], "sums are not scattered")
    rows = run["rows"] * (1 + run["pair"])
    across = run["columns"] if run["scatter"] or cfg["split"] else -(-run["columns"] // 2)
    row = across * cfg["out_planes"]
    apart = rows == 1 or cfg["out_pitch"] >= row
    last = (rows - 1) * cfg["out_pitch"] + row
    for name, address, words in (
        ("keep", "out_address", engine.out_words),
        ("loop", "loop_address", engine.loop_words),
    ):
        if cfg[name]:
            rule(apart and run[address] + last <= words, "a map beyond its memory, or its rows over each other")
    if cfg["pool"]:
        rule(run["pair"] and not run["scatter"], "the maximum is taken of neighbours: pairs of rows, nothing scattered")
        across = run["columns"] if cfg["split"] else -(-run["columns"] // 2)
        row = across * cfg["out_planes"]
        apart = run["rows"] == 1 or cfg["pool_pitch"] >= row
        last = run["pool_address"] + (run["rows"] - 1) * cfg["pool_pitch"] + row
        rule(apart and last <= engine.pool_words, "a map beyond its memory, or its rows over each other")


def check_transfer(i: Fields) -> None:
    """What LOAD and STORE say of the DDR."""
    whole = i["ddr"] % 8 == 0 and i["ddr_stride"] % 8 == 0
    rule(whole and i["runs"] and i["run_words"], f"bad transfer {dict(i)}")


def check_load(i: Fields, engine: EngineConfig) -> None:
    """LOAD, but what it says of the DDR."""
    rule(i["target"] in list(Target), "there is no such target")
    if i["target"] == Target.PARAMETERS:
        slots, rest = divmod(i["run_words"], 2 * engine.rows)
        rule(i["runs"] == 1 and not rest, "parameters are one run of whole slots")
        rule(i["address"] + slots <= engine.param_slots, "there is no such parameter slot")
    elif i["target"] in (Target.WINDOW, Target.POINT):
        _check_place(i)


def _check_place(i: Fields) -> None:
    if i["target"] == Target.POINT:
        rule(i["bank"] < 8, "1x1 convolutions read banks 0 to 7")
        return
    rule(i["planes"], "a word column has planes")
    rule(i["row_phase"] < 3 and i["column_phase"] < 3, "a phase counts modulo 3")


def check_move(i: Fields, engine: EngineConfig) -> None:
    """MOVE."""
    rule(i["target"] in (Target.WINDOW, Target.POINT), "a MOVE goes to the banks")
    rule(i["runs"] and i["run_words"] and i["planes"], "a MOVE of nothing")
    rule(i["cost"] >= i["run_words"] * i["runs"] + MOVE_TAIL, "a MOVE takes less time than it needs")
    _check_place(i)
    _check_set(i, engine)
    window = i["target"] == Target.WINDOW
    rule(not window or i["run_words"] % i["planes"] == 0, "a MOVE takes whole word columns, two at a time")
    last = i["run_words"] if window else reach(i["run_words"], i["planes"])
    last += i["source"] + (i["runs"] - 1) * i["source_pitch"]
    rule(last <= engine.loop_words, "a MOVE from beyond the loop memory")


def check_store(i: Fields, engine: EngineConfig) -> None:
    """STORE, but what it says of the DDR."""
    _check_set(i, engine)
    start = i["address"] + (i["runs"] - 1) * i["pitch"]
    if i["pool"]:
        rule(start + i["run_words"] <= engine.pool_words, "a STORE from beyond the pool memory")
        return
    rule(i["planes"], "a STORE of no planes")
    last = start + reach(i["run_words"], i["planes"])
    rule(last <= engine.out_words, "a STORE from beyond the output memory")


def reach(words: int, planes: int) -> int:
    """Addresses that a row of so many words takes: its even word columns lie in one memory, its odd ones in another."""
    columns, rest = divmod(words, planes)
    return max(-(-columns // 2) * planes, columns // 2 * planes + rest)


def _check_set(i: Fields, engine: EngineConfig) -> None:
    rule(engine.splits or not i["split"], "the array makes no two word columns a step")
    rule(i["set"] + i["split"] * (engine.sets // 2) < engine.sets, "there is no such set")


def check_ring(starts: list[int], pitch: int, ring: Fields) -> None:
    """Row blocks, each behind the one before or at the ring's beginning: the row above one that lies where the ring
    begins is the ring's last.
    """
    for before, here in pairwise(starts):
        entered = (before + pitch) % ADDRESSES == ring["wrap_at"]
        rule(here != ring["wrap_to"] or entered, "a row lies where the ring begins, but the ring has not ended before")
