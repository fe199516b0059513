"""The driver: pictures in, masks out, on whatever backend.

The accelerator's ports to memory are not coherent with the processor's cache.  So what the processor wrote is flushed
before the start, and what the accelerator wrote is invalidated after the end, before the first look at it.
"""

from __future__ import annotations

import operator
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from importlib import import_module
from pathlib import Path
from types import TracebackType

import numpy as np

from hwseg.errors import HwsegError, require
from hwseg.pictures.raster import Raster
from hwseg.runtime.backend import Backend
from hwseg.runtime.cut import masks, one
from hwseg.runtime.engine import AGAIN, Engine, ended
from hwseg.runtime.loaded import Loaded
from hwseg.runtime.model import Model
from hwseg.runtime.package import ALL_PLANES, Package, read_package, turned_name
from hwseg.runtime.run import LONGEST, Mask, Run, Turn, seconds_of

PATIENCE = 8
"""A run may take this many times the predicted cycles before it counts as hung: memory may be shared."""

BACKENDS = {
    "board": ("hwseg.runtime.board", "open_board"),
    "simulation": ("hwseg.sim.zynq", "open_simulation"),
}
"""Module and function by name; the function takes a Package."""


Pixels = np.ndarray | Raster
"""A picture: an array [H, W] or [H, W, C], or what `hwseg.pictures.read` gives."""


class Accelerator:
    """One accelerator with the models of a package.

        with Accelerator.open("package") as accelerator:
            mask = accelerator.segment(pixels).mask

    One run, one thread and one process at a time; another is refused.  Every wait has a limit; every fault is an
    HwsegError that says what to do.  After a fault, whatever it was, the next picture may come: a run that nobody will
    wait for is ended first.

    skip: leave out digit planes that are zero in a whole window.  The mask is the same, a run takes fewer cycles, how
    many depends on the picture; without it every run takes the package's predicted ones.
    """

    def __init__(self, package: Package, backend: Backend, skip: bool = True) -> None:
        self.package, self.backend, self.skip = package, backend, skip
        self._engine = Engine(package, backend)
        self._loaded: dict[str, Loaded] = {}
        self._running: Run | None = None
        self._turn, self._closed = Turn(), False

    @classmethod
    def open(cls, folder: str | Path, backend: str = "board", skip: bool = True) -> Accelerator:
        """The accelerator of a package, by name of its backend: "board" or "simulation"."""
        known = isinstance(backend, str) and backend in BACKENDS
        require(known, "backend", f"must be {' or '.join(BACKENDS)}, is {backend!r}")
        package = read_package(folder)
        opened = _backend(package, backend)
        try:
            return cls(package, opened, skip)
        except BaseException:
            opened.close()
            raise

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        with self._turn.taken():
            self._require_open()
            yield

    def _require_open(self) -> None:
        require(not self._closed, "accelerator", "must be open, was closed", "open it again")

    @property
    def running(self) -> Run | None:
        """The run under way, if there is one: whoever has lost it finds it here."""
        return self._running

    def load(self, model: str = "", planes: int = ALL_PLANES) -> Model:
        """Bring a model's program and weights into memory, once; by default the package's first.

        planes: the accuracy dial, with fewer planes and cycles; the package must hold a build of that setting.

        Several may be loaded: each has its own memory, and a run takes the one that it names.
        """
        with self._in_turn():
            return self._prepared(model, planes).model

    def _prepared(self, model: str, planes: int) -> Loaded:
        name = _named(self.package, model, planes)
        if name not in self._loaded:
            self._loaded[name] = Loaded(self.package.model(name), self.package, self.backend)
        return self._loaded[name]

    def segment(
        self, image: Pixels, model: str = "", timeout: float | None = None, planes: int = ALL_PLANES, fit: str = ""
    ) -> Mask:
        """The mask of one picture of any size, [H, W] or [H, W, C], of the depth that the model was declared for.

        It is cut into tiles of the model's size, as `hwseg segment` does, and the mask is the same to the byte; the
        next tile is packed while one is computed.  A model that was trained on pictures scaled to its size gets such
        ones, and its classes are scaled back.  In memory are the picture, and for each of its pixels a byte and four
        bytes per class.

        fit: "crop" or "resize" computes one tile instead, as `hwseg golden --fit` does.  `planes` as in `load`.
        timeout: seconds of a tile; a run that takes longer is stopped.
        """
        return self.batch((image,), model, timeout, planes, fit)[0]

    def batch(
        self,
        images: Iterable[Pixels],
        model: str = "",
        timeout: float | None = None,
        planes: int = ALL_PLANES,
        fit: str = "",
    ) -> list[Mask]:
        """Masks of many pictures, as of `segment`; while one tile is computed, the next is packed.

        If a picture is refused, or a run fails, the run under way is stopped, and no mask is returned.
        """
        seconds = seconds_of(timeout)
        with self._in_turn():
            self._require_idle()
            loaded = self._prepared(model, planes)
            return masks(images, loaded.model, fit, lambda inputs: self._each(loaded, inputs, seconds))

    def stream(
        self, inputs: Iterable[np.ndarray], model: str = "", timeout: float | None = None, planes: int = ALL_PLANES
    ) -> Iterator[Mask]:
        """The result of each of a network's inputs, integers [H, W, C] of its own size, in their order.

        While one is computed, the next is taken and packed; whoever cuts pictures by other means uses this.
        """
        seconds = seconds_of(timeout)
        with self._in_turn():
            self._require_idle()
            steps = self._each(self._prepared(model, planes), inputs, seconds)
        with closing(steps):
            while True:
                with self._in_turn():
                    found = next(steps, None)
                if found is None:
                    return
                yield found

    def _each(self, loaded: Loaded, inputs: Iterable[np.ndarray], seconds: float | None) -> Generator[Mask, None, None]:
        """What `stream` gives, for who has the turn; a run that is left behind is stopped."""
        run: Run | None = None
        try:
            for integers in inputs:
                if run is None:
                    self._require_idle()  # a generator of pictures may have used the accelerator meanwhile
                    loaded.pack(integers, loaded.input)
                    run = self._begin(loaded, None)
                else:
                    packed, found = loaded.pack(integers), run.wait(seconds)
                    run = self._begin(loaded, packed)
                    yield found
            if run is not None:
                yield run.wait(seconds)
        except BaseException:
            self._give_up(run)
            raise

    def start(self, image: Pixels, model: str = "", planes: int = ALL_PLANES, fit: str = "") -> Run:
        """Start on one picture and return at once; `wait` of what this returns gives the mask.

        It must have the model's own size, or be brought to it with `fit`: one run is one tile.
        """
        with self._in_turn():
            self._require_idle()
            loaded = self._prepared(model, planes)
            loaded.pack(one(image, loaded.model, fit), loaded.input)
            return self._begin(loaded, None)

    def _require_idle(self) -> None:
        if self._running is not None and self._running.given_up:
            self._end(self._running)
        cure = "wait for its mask first, with accelerator.running.wait()"
        require(self._running is None, "accelerator", "must not be busy with another picture", cure)

    def _begin(self, loaded: Loaded, packed: np.ndarray | None) -> Run:
        # The pictures of a batch may come from a generator that has used the accelerator meanwhile.
        self._require_open()
        self._require_idle()
        if packed is not None:
            loaded.input[:] = packed
        self._engine.prepare(loaded, bool(self.skip))
        # Known before it runs: whatever happens in between, the next run finds this one.
        run = self._running = Run(self, loaded)
        try:
            self._engine.start()
        except BaseException:
            run.given_up = True
            raise
        return run

    def _give_up(self, run: Run | None) -> None:
        """Nobody will wait for this run: end it, now or, where that fails, before the next one."""
        if run is not None and run is self._running:
            run.given_up = True
            with suppress(HwsegError):
                self._end(run)

    def _end(self, run: Run) -> None:
        """Stop a run and wait until it has stopped."""
        model = run.loaded.model
        self._engine.stop()
        if "busy" in self._engine.wait(_patience(model, self.package, self.backend)):
            raise self._engine.late(model, "must stop when it is told to", AGAIN)
        self._engine.acknowledge()
        run.end(HwsegError("accelerator", "a run that was stopped has no mask", "start it again"))
        self._running = None

    def stop(self, run: Run) -> None:
        """`Run.stop`."""
        with self._in_turn():
            if run is self._running:
                self._engine.stop()

    def finish(self, run: Run, timeout: float | None) -> None:
        """`Run.wait`: wait for the run's end, then read its counters and its head."""
        with self._in_turn():
            model = run.loaded.model
            limit = _patience(model, self.package, self.backend) if timeout is None else timeout
            status = self._engine.wait(limit)
            if not ended(status):
                cure = f"allow a longer timeout, or {AGAIN}"
                raise self._engine.late(model, f"must finish within {limit:g} s", cure)
            self._engine.acknowledge()
            run.end(self._engine.fault(status) or _mask(run.loaded, self._engine))
            self._running = None

    def reset(self) -> None:
        """Forget a run that was under way when the fabric was reset: its registers have their first values again.

        Raises HwsegError if it is still busy.  Models stay loaded; their memory has not changed.
        """
        with self._in_turn():
            self._engine.require_idle("must not be busy after a reset", AGAIN)
            if self._running is not None:
                self._running.end(HwsegError("accelerator", "a run that a reset ended has no mask", "start it again"))
            self._running = None
            self._engine.forget()

    def status(self) -> frozenset[str]:
        """Names of the bits that are set in the status register."""
        with self._in_turn():
            return self._engine.status()

    def close(self) -> None:
        """Stop a run that is under way, wait for its end, then give memory and device back.

        Raises HwsegError if it does not stop; its memory is then not given back, for it may still be written.
        """
        with self._turn.taken():
            if self._closed:
                return
            try:
                if self._running is not None:
                    self._end(self._running)
                for loaded in self._loaded.values():
                    loaded.buffer.free()
            finally:
                self._closed = True
                self._loaded.clear()
                self.backend.close()

    def __enter__(self) -> Accelerator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(*([] if error is None else [HwsegError])):
            self.close()


def _backend(package: Package, name: str) -> Backend:
    """One of `BACKENDS`; HwsegError if its packages are not installed."""
    module, function = BACKENDS[name]
    try:
        opened: Backend = getattr(import_module(module), function)(package)
    except ImportError as error:
        raise HwsegError(f"backend {name}", f"must be installed: {error}", "pip install 'hwseg[sim]'") from error
    return opened


def _mask(loaded: Loaded, engine: Engine) -> Mask:
    """What a run has left behind."""
    cycles, counters = engine.cycles(), engine.counters()
    sums = loaded.sums()
    return Mask(loaded.model.head.mask(sums), sums, cycles, counters, loaded.model)


def _patience(model: Model, package: Package, backend: Backend) -> float:
    """Seconds after which a run counts as hung."""
    own = PATIENCE * model.cycles / (package.board.clock_mhz * 1e6)
    return min(LONGEST, max(own, backend.grace))


def _named(package: Package, model: str, planes: int) -> str:
    """Name of a build of the package: by default its first model's, of so many planes."""
    require(isinstance(model, str), "model", f"must be a name, is {model!r}", f"use {package.models[0]!r}")
    try:
        count = operator.index(planes)
    except TypeError:
        count = 0
    require(count > 0, "planes", f"must be an integer from 1 to {ALL_PLANES}, is {planes!r}", "leave it out")
    return turned_name(model or package.models[0], count)
