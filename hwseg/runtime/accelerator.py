"""The driver: pictures in, masks out, on whatever backend.

The accelerator's ports to memory are not coherent with the processor's cache.  So what the processor wrote is flushed
before the start, and what the accelerator wrote is invalidated after the end, before the first look at it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.layout import HeadLayout, pack_into, unpack_head, unpack_tensor
from hwseg.pictures.raster import Raster
from hwseg.runtime.backend import Backend, Buffer
from hwseg.runtime.package import ALL_PLANES, Model, Package, read_package, turned_name

PATIENCE = 8
"""A run may take this many times the predicted cycles before it counts as hung: memory may be shared."""

POLL_SECONDS = 0.0002
START, STOP = 1, 2
"""Bits of the control register."""
WINDOW_STEP = 128
"""The granted window begins and ends at multiples of this."""

BACKENDS = {
    "board": ("hwseg.runtime.board", "open_board"),
    "simulation": ("hwseg.sim.zynq", "open_simulation"),
}
"""Module and function by name; the function takes a Package."""

COUNTERS = ("walking", "read_beats", "write_beats", "skipped")


@dataclass(frozen=True)
class Mask:
    """mask: class of every pixel, uint8 [H, W].  sums: the head's exact integers [H, W, C].

    cycles: of the accelerator.  counters: other registers that count, by name.
    """

    mask: np.ndarray
    sums: np.ndarray
    cycles: int
    counters: Mapping[str, int]
    model: Model

    @property
    def logits(self) -> np.ndarray:
        """The model's numbers before its activation, float32 [H, W, C]."""
        return self.model.head.logits(self.sums)


class Accelerator:
    """One accelerator with the models of a package.

        with Accelerator.open("package") as accelerator:
            mask = accelerator.segment(pixels).mask

    One run at a time.  Every wait has a limit; every fault is an HwsegError that says what to do.

    skip: leave out digit planes that are zero in a whole window.  The mask is the same, a run takes fewer cycles, how
    many depends on the picture; without it every run takes the package's predicted ones.
    """

    def __init__(self, package: Package, backend: Backend, skip: bool = True) -> None:
        self.package, self.backend, self.skip = package, backend, skip
        self._loaded: dict[str, Loaded] = {}
        self._set: dict[str, int] = {}
        self._running: Run | None = None
        self._require_bitstream()
        place, rule = f"{backend.name}, register status", "must not be busy: somebody else's run is under way"
        require("busy" not in self.status(), place, rule, "wait for it, or load the bitstream again")
        self._write("interrupt", 1)

    @classmethod
    def open(cls, folder: str | Path, backend: str = "board", skip: bool = True) -> Accelerator:
        """The accelerator of a package, by name of its backend: "board" or "simulation"."""
        require(backend in BACKENDS, "backend", f"must be {' or '.join(BACKENDS)}, is {backend!r}")
        package = read_package(folder)
        module, function = BACKENDS[backend]
        try:
            opened: Backend = getattr(import_module(module), function)(package)
        except ImportError as error:
            raise HwsegError(f"backend {backend}", f"must be installed: {error}", "pip install 'hwseg[sim]'") from error
        try:
            return cls(package, opened, skip)
        except BaseException:
            opened.close()
            raise

    def _require_bitstream(self) -> None:
        place = f"{self.backend.name}, register identity"
        found = self._read("identity")
        rule = f"must read {self.package.identity:#010x}, reads {found:#010x}: another bitstream is loaded, or none"
        require(found == self.package.identity, place, rule, "load the bitstream of this package")
        found = self._read("array")
        rule = f"must read {self.package.array_code:#010x} for {self.package.array}, reads {found:#010x}"
        require(
            found == self.package.array_code,
            f"{self.backend.name}, register array",
            rule,
            "load the bitstream of this package",
        )

    def load(self, model: str = "", planes: int = ALL_PLANES) -> Model:
        """Bring a model's program and weights into memory, once; by default the package's first.

        planes: the accuracy dial, with fewer planes and cycles; the package must hold a build of that setting.

        Several may be loaded: each has its own memory, and a run takes the one that it names.
        """
        return self._prepared(model, planes).model

    def _prepared(self, name: str, planes: int = ALL_PLANES) -> Loaded:
        name = turned_name(name or self.package.models[0], planes)
        if name not in self._loaded:
            self._loaded[name] = Loaded(self.package.model(name), self.package, self.backend)
        return self._loaded[name]

    def segment(
        self,
        image: np.ndarray | Raster,
        model: str = "",
        timeout: float | None = None,
        planes: int = ALL_PLANES,
        fit: str = "",
    ) -> Mask:
        """The mask of one picture, [H, W] or [H, W, C], of the depth and the size that the model was declared for.

        fit: "crop" or "resize" brings one of another size to the model's, as `hwseg golden --fit` does.  `planes` as in
        `load`.
        """
        return self.start(image, model, planes, fit).wait(timeout)

    def batch(
        self, images: Iterable[np.ndarray], model: str = "", timeout: float | None = None, planes: int = ALL_PLANES
    ) -> list[Mask]:
        """Masks of many pictures; while one is computed, the next is packed."""
        masks: list[Mask] = []
        loaded = self._prepared(model, planes)
        running: Run | None = None
        for image in images:
            packed = loaded.pack(image)
            if running is not None:
                masks.append(running.wait(timeout))
            running = self._begin(loaded, packed)
        if running is not None:
            masks.append(running.wait(timeout))
        return masks

    def start(self, image: np.ndarray | Raster, model: str = "", planes: int = ALL_PLANES, fit: str = "") -> Run:
        """Start on one picture and return at once; `wait` of what this returns gives the mask."""
        self._require_idle()
        loaded = self._prepared(model, planes)
        loaded.pack(image, loaded.input, fit)
        return self._begin(loaded, None)

    def _require_idle(self) -> None:
        running = self._running is not None
        require(not running, "accelerator", "must not be busy with another picture", "wait for its mask first")

    def _begin(self, loaded: Loaded, packed: np.ndarray | None) -> Run:
        self._require_idle()
        if packed is not None:
            loaded.input[:] = packed
        model, base = loaded.model, loaded.buffer.address
        loaded.buffer.flush(model.input_address, model.input.bytes)
        # The hardware lets no burst leave the window from base to limit.
        self._write_once("base", base)
        self._write_once("limit", base + -(-model.total_bytes // WINDOW_STEP) * WINDOW_STEP)
        self._write_once("skip", int(self.skip))
        self._write_once("program", model.program.address)
        self._write_once("program_words", model.program.size // 8)
        self._write_once("interrupt_enable", 1)
        self._write("control", START)
        self._running = Run(self, loaded)
        return self._running

    def reset(self) -> None:
        """Forget a run that was under way when the fabric was reset: its registers have their first values again.

        Raises HwsegError if it is still busy.  Models stay loaded; their memory has not changed.
        """
        place, rule = f"{self.backend.name}, register status", "must not be busy after a reset"
        require("busy" not in self.status(), place, rule, "load the bitstream again")
        self._running = None
        self._set.clear()

    def status(self) -> frozenset[str]:
        """Names of the bits that are set in the status register."""
        value = self._read("status")
        return frozenset(name for name, bit in self.package.status.items() if value & bit)

    def _finish(self, loaded: Loaded, timeout: float | None) -> Mask:
        """Wait for the run's end, then read its counters and its head."""
        status = self._wait_for_end(loaded.model, timeout)
        self._write("interrupt", 1)
        self._running = None
        if "error" in status:
            raise self._ended_early()
        model = loaded.model
        cycles = self._read("cycles") | self._read("cycles_high") << 32
        counters = {name: self._read(name) for name in COUNTERS}
        loaded.buffer.invalidate(model.head_address, model.head_bytes)
        view: Any = memoryview(loaded.buffer.array[model.head_address :][: model.head_bytes])  # type: ignore[arg-type]
        layout = model.head_layout
        sums = unpack_head(view, layout) if isinstance(layout, HeadLayout) else unpack_tensor(view, layout)
        # The next run overwrites the buffer, and unpacking may have kept a view of it.
        sums = np.array(sums)
        return Mask(model.head.mask(sums), sums, cycles, counters, model)

    def _wait_for_end(self, model: Model, timeout: float | None) -> frozenset[str]:
        own = PATIENCE * model.cycles / (self.package.board.clock_mhz * 1e6)
        limit = max(own, self.backend.grace) if timeout is None else timeout
        end = self.backend.now() + limit
        while True:
            came = self.backend.wait(max(0.0, min(limit, end - self.backend.now())))
            status = self.status()
            if "busy" not in status and "done" in status:
                return status
            # An interrupt that is stuck must not keep the driver here either.
            if self.backend.now() >= end:
                raise self._hung(model, limit, status)
            if not came:
                time.sleep(POLL_SECONDS)

    def _hung(self, model: Model, limit: float, status: frozenset[str]) -> HwsegError:
        layer = self._read("layer")
        name = model.layers[layer] if layer < len(model.layers) else f"number {layer}"
        return HwsegError(
            f"{self.backend.name}, model {model.name}",
            f"must finish within {limit:g} s, is still in layer {name} (status {', '.join(sorted(status)) or 'idle'})",
            "allow a longer timeout, or load the bitstream again",
        )

    def _ended_early(self) -> HwsegError:
        cause, address = self._read("error_cause"), self._read("error_address")
        told = self.package.causes.get(cause, f"cause {cause}")
        rule = f"a run must end by itself, ended early at address {address:#010x}: {told}"
        return HwsegError(self.backend.name, rule, "run it again; if it happens again, load the bitstream again")

    def _read(self, name: str) -> int:
        return self.backend.read(self.package.offsets[name])

    def _write(self, name: str, value: int) -> None:
        self.backend.write(self.package.offsets[name], value)

    def _write_once(self, name: str, value: int) -> None:
        """Write a register that keeps its value, unless it has it already."""
        if self._set.get(name) != value:
            self._write(name, value)
            self._set[name] = value

    def close(self) -> None:
        """Stop a run that is under way, wait for its end, then give memory and device back."""
        try:
            if self._running is not None:
                self._running.stop()
                self._running.wait()
        except HwsegError:
            pass
        finally:
            for loaded in self._loaded.values():
                loaded.buffer.free()
            self._loaded.clear()
            self.backend.close()

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Loaded:
    """A model in memory: program and weights are checked before the first byte is written."""

    def __init__(self, model: Model, package: Package, backend: Backend) -> None:
        images = model.images()
        self.model = model
        self.buffer: Buffer = backend.allocate(model.total_bytes)
        try:
            self._require_reachable(package, backend)
            for image, content in images:
                self.buffer.array[image.address : image.address + image.size] = content
                self.buffer.flush(image.address, image.size)
        except BaseException:
            self.buffer.free()
            raise

    def _require_reachable(self, package: Package, backend: Backend) -> None:
        first, last = self.buffer.address, self.buffer.address + self.model.total_bytes - 1
        board = package.board
        require(
            board.ddr_first <= first and last <= board.ddr_last,
            f"{backend.name}, buffer",
            f"must lie between {board.ddr_first:#x} and {board.ddr_last:#x}, is at {first:#x} to {last:#x}",
            f"use memory of a {board.name}",
        )

    @property
    def input(self) -> np.ndarray[Any, Any]:
        """The input's bytes in the buffer."""
        return self.buffer.array[self.model.input_address :][: self.model.input.bytes]

    def pack(self, image: np.ndarray | Raster, out: np.ndarray | None = None, fit: str = "") -> np.ndarray:
        """Digit planes of a picture, into `out` or a new array."""
        model = self.model
        packed = np.empty(model.input.bytes, np.uint8) if out is None else out
        pack_into(packed, model.pixels.integers(image, model.input.shape, fit), model.input)
        return packed


class Run:
    """A run under way."""

    def __init__(self, accelerator: Accelerator, loaded: Loaded) -> None:
        self._accelerator, self._loaded = accelerator, loaded
        self._mask: Mask | None = None

    @property
    def done(self) -> bool:
        """Whether `wait` would return at once."""
        return self._mask is not None or "busy" not in self._accelerator.status()

    def stop(self) -> None:
        """End the run before its time: bursts on the bus end first, and `wait` then raises HwsegError."""
        if self._mask is None:
            self._accelerator._write("control", STOP)

    def wait(self, timeout: float | None = None) -> Mask:
        """The mask; raises HwsegError after `timeout` seconds, by default 8 times what the compiler predicts.

        After a timeout the run is still under way: `wait` may be called again, or `stop`.
        """
        if self._mask is None:
            self._mask = self._accelerator._finish(self._loaded, timeout)
        return self._mask
