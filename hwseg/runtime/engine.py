"""The accelerator's registers, by name: start, stop, wait, and what a run has counted."""

from __future__ import annotations

import time

from hwseg.errors import HwsegError, require
from hwseg.runtime.backend import Backend
from hwseg.runtime.loaded import Loaded
from hwseg.runtime.model import Model
from hwseg.runtime.package import Package

POLL_SECONDS = 0.0002
START, STOP = 1, 2
"""Bits of the control register."""
WINDOW_STEP = 128
"""The granted window begins and ends at multiples of this."""

COUNTERS = ("walking", "read_beats", "write_beats", "skipped")
AGAIN = "load the bitstream again"


class Engine:
    """The registers of one accelerator.  Raises HwsegError for the bitstream of another package, or for none."""

    def __init__(self, package: Package, backend: Backend) -> None:
        self.package, self.backend = package, backend
        self._set: dict[str, int] = {}
        for register, wanted, meant, what in (
            ("identity", package.identity, "", ": another bitstream is loaded, or none"),
            ("array", package.array_code, f" for {package.array}", ""),
        ):
            found = self.read(register)
            rule = f"must read {wanted:#010x}{meant}, reads {found:#010x}{what}"
            place = f"{backend.name}, register {register}"
            require(found == wanted, place, rule, "load the bitstream of this package")
        cure = f"wait for it, or {AGAIN}"
        self.require_idle("must not be busy: somebody else's run is under way", cure)
        self.write("interrupt", 1)

    def read(self, name: str) -> int:
        return self.backend.read(self.package.offsets[name])

    def write(self, name: str, value: int) -> None:
        self.backend.write(self.package.offsets[name], value)

    def write_once(self, name: str, value: int) -> None:
        """Write a register that keeps its value, unless it has it already."""
        if self._set.get(name) != value:
            # Whoever is interrupted here does not know what it has.
            self._set.pop(name, None)
            self.write(name, value)
            self._set[name] = value

    def forget(self) -> None:
        """Registers may have any value again."""
        self._set.clear()

    def status(self) -> frozenset[str]:
        """Names of the bits that are set in the status register."""
        value = self.read("status")
        return frozenset(name for name, bit in self.package.status.items() if value & bit)

    def require_idle(self, rule: str, cure: str) -> None:
        require("busy" not in self.status(), f"{self.backend.name}, register status", rule, cure)

    def prepare(self, loaded: Loaded, skip: bool) -> None:
        """The picture reaches the memory, and registers say where everything is."""
        model, base = loaded.model, loaded.buffer.address
        loaded.buffer.flush(model.input_address, model.input.bytes)
        # The hardware lets no burst leave the window from base to limit.
        self.write_once("base", base)
        self.write_once("limit", base + -(-model.total_bytes // WINDOW_STEP) * WINDOW_STEP)
        self.write_once("skip", int(skip))
        self.write_once("program", model.program.address)
        self.write_once("program_words", model.program.size // 8)
        self.write_once("interrupt_enable", 1)

    def start(self) -> None:
        self.write("control", START)

    def stop(self) -> None:
        """End a run before its time; bursts on the bus end first."""
        self.write("control", STOP)

    def wait(self, limit: float) -> frozenset[str]:
        """The status at the run's end, or after `limit` seconds on the backend's clock."""
        end = self.backend.now() + limit
        while True:
            came = self.backend.wait(max(0.0, min(limit, end - self.backend.now())))
            status = self.status()
            # An interrupt that is stuck must not keep the driver here either.
            if ended(status) or self.backend.now() >= end:
                return status
            if not came:
                time.sleep(POLL_SECONDS)

    def acknowledge(self) -> None:
        """The interrupt has been seen."""
        self.write("interrupt", 1)

    def cycles(self) -> int:
        """Of the last run."""
        return self.read("cycles") | self.read("cycles_high") << 32

    def counters(self) -> dict[str, int]:
        """Of the last run, by name."""
        return {name: self.read(name) for name in COUNTERS}

    def late(self, model: Model, rule: str, cure: str) -> HwsegError:
        """What to raise for a run that does not end."""
        layer, status = self.read("layer"), ", ".join(sorted(self.status())) or "idle"
        name = model.layers[layer] if layer < len(model.layers) else f"number {layer}"
        place = f"{self.backend.name}, model {model.name}"
        return HwsegError(place, f"{rule}, is still in layer {name} (status {status})", cure)

    def fault(self, status: frozenset[str]) -> HwsegError | None:
        """Why the last run gave no mask, if so."""
        cure = f"run it again; if it happens again, {AGAIN}"
        if "error" in status:
            cause, address = self.read("error_cause"), self.read("error_address")
            told = self.package.causes.get(cause, f"cause {cause}")
            rule = f"a run must end by itself, ended early at address {address:#010x}: {told}"
            return HwsegError(self.backend.name, rule, cure)
        if "overrun" in status:
            return HwsegError(self.backend.name, "must not be started by somebody else during a run", cure)
        return None


def ended(status: frozenset[str]) -> bool:
    """Whether a run has ended, and there was one."""
    return "busy" not in status and "done" in status
