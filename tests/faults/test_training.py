"""A training run loses no finished step, has one process at a time, and never keeps half a step."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("brevitas")

from hwseg.cli import main  # noqa: E402
from hwseg.datasets.data import load_folder  # noqa: E402
from hwseg.errors import HwsegError  # noqa: E402
from hwseg.files import PARTIAL  # noqa: E402
from hwseg.locks import in_use  # noqa: E402
from hwseg.quant.networks.unet import UNetConfig  # noqa: E402
from hwseg.quant.train import plots, search  # noqa: E402
from hwseg.quant.train.run import Progress, Run, TrainConfig, train  # noqa: E402
from tests.faults.pictures import discs  # noqa: E402

UNET = UNetConfig(depth=1, width=2)
CONFIG = TrainConfig(steps=6, batch=1, size=16, validate_every=100, calibration_batches=1, threads=1)
OPTIONS = ("--depth", "1", "--width", "2", "--size", "16", "--batch", "1", "--threads", "1")
HOLDER = """
import sys, time
from hwseg.locks import in_use
with in_use(sys.argv[1]):
    print("held", flush=True)
    time.sleep(99)
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return discs(tmp_path_factory.mktemp("discs") / "set")


def start(folder: Path, out: Path, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "hwseg", "train", "--data", str(folder), "-o", str(out), *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=ENVIRONMENT)


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)])
def test_a_signal_finishes_the_step_and_keeps_it(
    number: signal.Signals, status: int, folder: Path, tmp_path: Path
) -> None:
    def ask(progress: Progress) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), number)
            time.sleep(0.01)

    before = signal.getsignal(number)
    result = train(Run(tmp_path / "run", UNET, CONFIG), load_folder(folder), ask)
    assert (result.interrupted, result.status, result.step) == (True, status, 2)
    assert Run.resume(tmp_path / "run").step == 2
    assert signal.getsignal(number) is before


def test_the_command_saves_at_sigterm_and_ends_with_143(folder: Path, tmp_path: Path) -> None:
    """Validation, and with it a checkpoint, would come at step 100 only."""
    process = start(folder, tmp_path / "run", *OPTIONS, "--steps", "1000000")
    state = tmp_path / "run" / "last.pt"
    while not state.exists() and process.poll() is None:
        time.sleep(0.05)
    time.sleep(1)
    process.terminate()
    said = process.communicate(timeout=120)[0]
    assert process.returncode == 143, said
    step = re.search(r"stopped after step (\d+); add --resume to go on", said)
    assert step is not None
    assert Run.resume(tmp_path / "run").step == int(step[1])


def test_a_second_signal_in_the_middle_of_a_step_does_not_keep_half_of_it(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run", UNET, CONFIG)

    def torn(self: torch.optim.Optimizer, *_: object) -> None:
        raise KeyboardInterrupt

    def tear(progress: Progress) -> None:
        if progress.step == 2:
            run.save()
        if progress.step == 3:
            monkeypatch.setattr(torch.optim.AdamW, "step", torn)

    result = train(run, load_folder(folder), tear)
    assert (result.status, result.step) == (130, 2)
    assert Run.resume(tmp_path / "run").step == 2


def test_two_commands_on_one_folder_end_in_one_run(folder: Path, tmp_path: Path) -> None:
    processes = [start(folder, tmp_path / "run", *OPTIONS, "--steps", "40") for _ in range(2)]
    said = [process.communicate(timeout=300)[0] for process in processes]
    assert sorted(process.returncode for process in processes) == [0, 2], said
    (refusal,) = (text for process, text in zip(processes, said, strict=True) if process.returncode == 2)
    assert re.search(r"run: (is in use by another hwseg, process \d+; wait|already holds a run; add --resume)", refusal)


def test_a_run_is_locked_while_it_trains_and_free_afterwards(folder: Path, tmp_path: Path) -> None:
    parts, refused = load_folder(folder), []

    def other(progress: Progress) -> None:
        pid = os.fork()
        if pid == 0:
            try:
                with in_use(tmp_path / "run"):
                    os._exit(0)
            except HwsegError:
                os._exit(7)
        refused.append(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))

    assert train(Run(tmp_path / "run", UNET, CONFIG), parts, other).status == 0
    assert refused == [7] * 6
    with in_use(tmp_path / "run"):
        pass


def test_a_run_that_another_process_has_changed_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    parts = load_folder(folder)
    late = Run(tmp_path / "run", UNET, CONFIG)

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    assert train(Run(tmp_path / "run", UNET, CONFIG), parts, stop).step == 1
    with pytest.raises(HwsegError, match="run: already holds a run; add --resume to go on, or choose another folder"):
        train(late, parts)
    stale = Run.resume(tmp_path / "run")
    assert train(Run.resume(tmp_path / "run"), parts, stop).step == 2
    with pytest.raises(HwsegError, match="run: was changed by another process meanwhile; add --resume to go on"):
        train(stale, parts)
    assert train(Run.resume(tmp_path / "run"), parts).status == 0  # the cure


def test_what_a_killed_run_left_half_written_is_removed(folder: Path, tmp_path: Path) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    train(Run(tmp_path / "run", UNET, CONFIG), load_folder(folder), stop)
    for name in ("last.pt", "best.pt", "curves.png"):
        (tmp_path / "run" / f".{name}{PARTIAL}").write_bytes(b"half")
    assert train(Run.resume(tmp_path / "run"), load_folder(folder)).status == 0
    assert [path.name for path in (tmp_path / "run").iterdir() if path.name.startswith(".")] == []


def test_matplotlib_is_not_worth_a_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(count: int) -> None:
        raise ValueError("'module://matplotlib_inline.backend_inline' is not a valid value for backend")

    monkeypatch.setattr(plots, "_figure", broken)
    assert train(Run(tmp_path / "run", UNET, CONFIG), load_folder(folder)).status == 0
    assert (tmp_path / "run" / "result.json").is_file()
    assert not (tmp_path / "run" / "curves.png").exists()
    (line,) = caplog.messages
    assert line.startswith(
        "hwseg: matplotlib: must not fail drawing curves.png, and your files are not to blame: Value"
    )


def test_the_backend_of_a_notebook_does_not_matter(folder: Path, tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "MPLBACKEND": "module://no_such_package.backend_inline"}
    command = [sys.executable, "-m", "hwseg", "train", "--data", str(folder), "-o", str(tmp_path / "run"), *OPTIONS]
    done = subprocess.run([*command, "--steps", "3"], capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "curves.png").is_file()


def test_an_interrupted_search_keeps_what_it_has_measured(tmp_path: Path) -> None:
    memory = search.Memory(tmp_path / "m.json", {"unet": 1})
    with pytest.raises(KeyboardInterrupt):
        memory.fill({str(n): (n,) for n in range(9)}, _stopping, 1, lambda _: None)
    assert search.Memory(tmp_path / "m.json", {"unet": 1}).values == {"0": 0, "1": 1, "2": 4}


def _stopping(n: int) -> int:
    if n == 3:
        raise KeyboardInterrupt
    return n * n


def test_a_changed_measurement_is_refused_and_the_cure_works(tmp_path: Path) -> None:
    path = tmp_path / "m.json"
    memory = search.Memory(path, {"unet": 1})
    memory.fill({"x": (2,), "y": (1,)}, _stopping, 1, lambda _: None)
    path.write_text(path.read_text().replace('"x": 4', '"x": 5'))
    with pytest.raises(HwsegError, match=r"m\.json: was changed since it was written; remove it to measure again"):
        search.Memory(path, {"unet": 1})
    path.unlink()
    search.Memory(path, {"unet": 1}).fill({"x": (2,)}, _stopping, 1, lambda _: None)


def test_other_pictures_are_another_search() -> None:
    def pictures(value: int) -> search.Set:
        return search.Set(((torch.full((1, 1, 4, 4), value / 256), torch.zeros(1, 4, 4, dtype=torch.long)),))

    assert len({pictures(0).digest, pictures(1).digest}) == 2
    assert pictures(1).digest == pictures(1).digest


def test_adapt_and_search_have_locks(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from hwseg.quant.train.checkpoint import save_network

    run = Run(tmp_path / "base", UNET, CONFIG)
    save_network(tmp_path / "base.pt", run.model, CONFIG, quantized=False)
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "out")]
    holder = subprocess.Popen(command, stdout=subprocess.PIPE, env=ENVIRONMENT)
    try:
        assert holder.stdout is not None
        holder.stdout.readline()
        with pytest.raises(SystemExit) as stop:
            main(["adapt", "--base", str(tmp_path / "base.pt"), "--data", str(folder), "-o", str(tmp_path / "out"),
                  "--size", "32", "--steps", "2", "--batch", "1", "--fewer", "1"])  # fmt: skip
        assert stop.value.code == 2
        assert f"out: is in use by another hwseg, process {holder.pid}; wait until that ends" in capsys.readouterr().err
    finally:
        holder.kill()
        holder.wait()
    assert np.all([not path.name.endswith(PARTIAL) for path in tmp_path.iterdir()])
