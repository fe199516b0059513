"""Commands killed with `kill -9` at random moments, and repeated: nothing lost, nothing half written, nothing left.

    python -m tests.faults.killed --count 1000 [--seed 0] [--command train]

Each command writes into a folder in which an earlier result lies, or none.  Killed, the folder must hold all of the
earlier result or all of the new one (a training run: any step, sound; segmented pictures: whole masks only).  Repeated,
it must hold what an undisturbed run gives, bit for bit, with no hidden file beside it and no process behind it.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwseg.cli import main as hwseg
from hwseg.files import MANIFEST, sha256, verify_manifest
from hwseg.pictures.read import read_one
from hwseg.segment.journal import UNFINISHED
from tests.faults import small
from tests.faults.pictures import discs

MODULES = (
    "builds.build",
    "builds.simulation",
    "boards.zynq7020.package",
    "commands.report",
    "commands.simulate",
    "pictures.source",
    "segment.run",
    "commands.segment",
)
TRAINING = ("quant.train.run", "quant.train.plots", "commands.train")
"""Imported before the first fork, so that a killed second is a second of work."""

SHARES = {"train": 7, "segment": 4, "compile": 5, "simulate": 1, "package": 2, "report": 1}
"""Of the count, of each command."""

WAIT = 20.0
"""Seconds in which what a killed process has started must have ended."""


@dataclass
class Command:
    """One command on one folder.  words: each makes another result.  check: raises unless the folder holds the result
    of some of `words`, or what a killed command may leave; what it returns tells results apart.
    """

    name: str
    folder: Path
    words: tuple[tuple[str, ...], ...]
    check: Callable[[Path], Any]
    again: tuple[str, ...] = ()
    """Words that the repetition has besides, where there is something to go on with."""
    unfinished: str = ""
    """The file that tells so: a killed command may leave a result of its own, from which it is resumed."""
    part: Callable[[Any, Any], bool] = lambda found, wanted: True
    """Whether what a killed command left may be a part of what is wanted."""
    wanted: list[Any] = field(default_factory=list)
    seconds: float = 1.0

    def prepare(self) -> None:
        """Results of runs that nobody disturbed, and how long they take."""
        for words in self.words:
            self.clear()
            start = time.monotonic()
            assert finish(run(words)) == 0, words
            self.seconds = max(0.05, time.monotonic() - start)
            self.wanted.append(self.check(self.folder))

    def clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def resumed(self, number: int) -> tuple[str, ...]:
        return (*self.words[number], *self.again)

    def trial(self, rng: random.Random) -> str:
        """Kill it once, look, repeat it, look again; what the killed command had come to."""
        old, new = rng.randrange(len(self.words)), rng.randrange(len(self.words))
        if self.unfinished or rng.random() < 0.3:
            self.clear()
        elif not self.folder.exists():
            assert finish(run(self.words[old])) == 0
        before = self.check(self.folder) if self.folder.exists() else None
        process = run(self.words[new])
        killed = kill(process, rng.random() * 1.1 * self.seconds)
        after = self.check(self.folder) if self.folder.exists() else None
        if self.unfinished:
            assert after is None or self.part(after, self.wanted[new]), f"{self.name}: {after} is no part of the result"
        else:
            assert after in (before, self.wanted[new]), f"{self.name}: neither the earlier result nor the new one"
        resumable = bool(self.unfinished) and (self.folder / self.unfinished).exists()
        status = finish(run(self.resumed(new) if resumable else self.words[new]))
        assert status == 0, f"{self.name}: the repetition ended with {status}: {said()}"
        assert self.check(self.folder) == self.wanted[new], f"{self.name}: another result after a kill"
        left = [path.name for path in (*self.folder.rglob(".*"), *self.folder.parent.glob(".*"))]
        assert left == [], f"{self.name} left {left}"
        if not killed:
            return "ended first"
        return "new result" if after == self.wanted[new] else "old result" if after == before else "can be resumed"


class Trained(Command):
    """A run says itself what it is: nothing is chosen again."""

    def resumed(self, number: int) -> tuple[str, ...]:
        command, _config, *rest = self.words[0]
        return (command, *rest, *self.again)


CACHE = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
"""What simulators and compilers run from."""

LOG = Path(tempfile.gettempdir()) / f"hwseg-killed-{os.getpid()}.log"


def run(words: Sequence[str]) -> int:
    """The command in a child of this process, which has loaded all that it needs; its process id."""
    child = os.fork()
    if child == 0:
        status = 70
        try:
            log = os.open(LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(log, 1)
            os.dup2(log, 2)
            hwseg(list(words))
        except SystemExit as stop:
            status = int(stop.code or 0)
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    return child


def said() -> str:
    return LOG.read_text(errors="replace")[-2000:] if LOG.exists() else ""


def finish(process: int) -> int:
    """Its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def kill(process: int, after: float) -> bool:
    """Kill the process after so many seconds, alone, and wait for what it started; whether it was still running."""
    end = time.monotonic() + after
    while time.monotonic() < end:
        if os.waitpid(process, os.WNOHANG) != (0, 0):
            return False
        time.sleep(min(0.002, after))
    os.kill(process, signal.SIGKILL)
    os.waitpid(process, 0)
    end = time.monotonic() + WAIT
    while orphans():
        assert time.monotonic() < end, f"{orphans()} outlive their parent"
        time.sleep(0.01)
    return True


def orphans() -> list[str]:
    """Command lines of simulators and of hwseg's own processes that nobody waits for."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            if folder.name.isdigit():
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                parent = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent == 1 and CACHE in line:
                    found.append(line)
    return found


def built(folder: Path) -> str:
    """The digest of a build or package that is whole."""
    verify_manifest(folder)
    return sha256(folder / MANIFEST)


def simulated(folder: Path) -> Any:
    """What a simulation found, without its times; its build is as it was."""
    built(folder.parent)
    found = json.loads((folder / "simulation.json").read_text())
    pictures = {name: sha256(folder / f"{name}.png") for name in ("mask", "overlay")}
    assert found["sha256"] == pictures
    return [found["passed"], found["cycles"], found["image"], pictures]


def reported(folder: Path) -> str:
    verify_manifest(folder)
    return sha256(folder / MANIFEST)


def segmented(folder: Path) -> dict[str, str]:
    """Digests of the masks, each of which can be read, and of what was measured of them."""
    for path in folder.glob("*.png"):
        assert read_one(path).pixels.size
    return {path.name: sha256(path) for path in sorted(folder.iterdir()) if not path.name.startswith(".")}


def trained(folder: Path) -> Any:
    """A run's step and parameters; every file of it can be read."""
    import tomllib

    from hwseg.quant.train.checkpoint import NETWORK_FORMAT, RUN_FORMAT, load

    state = load(folder / "last.pt", RUN_FORMAT) if (folder / "last.pt").exists() else None
    networks = {p.name: load(p, NETWORK_FORMAT) for p in sorted(folder.glob("*.pt")) if p.name != "last.pt"}
    if (folder / "config.toml").exists():
        tomllib.loads((folder / "config.toml").read_text())
    if (folder / "metrics.csv").exists():
        assert (folder / "metrics.csv").read_text().endswith("\n")
    if (folder / "result.json").exists():
        json.loads((folder / "result.json").read_text())
    if state is None:
        assert not networks
        return None
    history = [row[:5] for row in state["history"]]
    tensors = [state["model"], *(network["model"] for network in networks.values())]
    values = [[name, value.double().sum().item(), value.numel()] for part in tensors for name, value in part.items()]
    return [state["step"], state["stage"], history, list(networks), values]


def commands(folder: Path, names: Sequence[str]) -> list[Command]:
    """Every command that is asked for, on the smallest of everything."""
    models = [small.model(folder / f"{name}.onnx", name) for name in ("one", "two")]
    pictures = [small.picture(folder / f"{seed}.png", seed=seed) for seed in range(2)]
    build = folder / "built" / "build"
    compiled = ["--array", small.ARRAY]
    assert finish(run(["compile", str(models[0]), *compiled, "-o", str(build)])) == 0, said()
    assert finish(run(["compile", str(models[1]), *compiled, "-o", str(folder / "built" / "other")])) == 0
    found = {
        "compile": Command(
            "compile", folder / "compile" / "build",
            tuple(("compile", str(m), *compiled, "-o", str(folder / "compile" / "build")) for m in models), built,
        ),
        "simulate": Command(
            "simulate", build / "simulation",
            tuple(("simulate", str(build), "--image", str(p)) for p in pictures), simulated,
        ),
        "package": Command(
            "package", folder / "package" / "p",
            tuple(
                ("package", str(folder / "built" / name), "--board", "pynq-z2", "-o", str(folder / "package" / "p"))
                for name in ("build", "other")
            ), built,
        ),
        "report": Command(
            "report", build / "report",
            tuple(("report", str(build), "--images", str(p)) for p in pictures), reported,
        ),
    }  # fmt: skip
    if "segment" in names:
        found["segment"] = segmentation(folder / "segment", models)
    if "train" in names:
        data = str(discs(folder / "set", 8))
        out = folder / "train" / "run"
        config = folder / "train.toml"
        config.write_text(
            "[unet]\ndepth = 1\nwidth = 2\n[train]\nsteps = 24\nsize = 16\nbatch = 2\nthreads = 1\nvalidate_every = 3\n"
            "calibration_batches = 2\nema = 0.9\n"
        )
        base = ("train", str(config), "--data", data, "-o", str(out))
        words = (base, (*base, "--seed", "5"))
        found["train"] = Trained("train", out, words, trained, ("--resume",), "last.pt")
    return [found[name] for name in names]


def segmentation(folder: Path, models: Sequence[Path]) -> Command:
    """Five pictures of 24 tiles: what is killed has some masks and some tiles of the next."""
    (folder / "in").mkdir(parents=True)
    for seed in range(5):
        small.picture(folder / f"in/{seed}.png", side=60, seed=seed)
    out = folder / "out"
    words = tuple(
        ("segment", str(m), str(folder / "in"), "-o", str(out), "--tile", "16x16", "--measure", str(out / "m.csv"))
        for m in models
    )
    part = lambda found, wanted: found.items() <= wanted.items()  # noqa: E731
    return Command("segment", out, words, segmented, ("--resume",), UNFINISHED, part)


def campaign(folder: Path, counts: dict[str, int], seed: int, say: Callable[[str], None]) -> dict[str, Counter[str]]:
    """So many trials of each command; what they came to."""
    for name in (*MODULES, *(TRAINING if "train" in counts else ())):
        importlib.import_module(f"hwseg.{name}")
    told: dict[str, Counter[str]] = {}
    for command in commands(folder, list(counts)):
        command.prepare()
        told[command.name] = Counter()
        for number in range(counts[command.name]):
            outcome = command.trial(random.Random(f"{command.name} {seed} {number}"))
            told[command.name][outcome] += 1
            shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)  # what killed processes could not remove
            os.mkdir(tempfile.gettempdir())
        say(f"{command.name}: {counts[command.name]} killed and repeated, {dict(told[command.name])}")
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--command", choices=list(SHARES), action="append")
    options = parser.parse_args()
    chosen = options.command or list(SHARES)
    whole = sum(SHARES[name] for name in chosen)
    counts = {name: max(1, round(options.count * SHARES[name] / whole)) for name in chosen}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "tmp").mkdir()
        tempfile.tempdir = os.environ["TMPDIR"] = str(folder / "tmp")
        campaign(folder, counts, options.seed, lambda text: print(text, flush=True))
    LOG.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
