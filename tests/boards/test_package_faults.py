"""`hwseg package` that is killed, or runs twice at once: the folder is the old package or the new one, whole."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest

from hwseg.boards import load_board
from hwseg.boards.zynq7020 import package as packages
from hwseg.boards.zynq7020.package import archive, package
from hwseg.builds.build import compile_model
from hwseg.errors import HwsegError
from hwseg.files import verify_manifest
from hwseg.locks import in_use
from hwseg.runtime import read_package
from tests.faults.crash import crashes
from tests.quant.models import random_unet

BOARD = load_board("pynq-z2")
NAMES = ("unet1", "unet7")


@pytest.fixture(scope="module")
def builds(tmp_path_factory):
    work = tmp_path_factory.mktemp("builds")
    return [compile_model(random_unet(seed, work), array="8x1x1", out=work / str(seed)).path for seed in (1, 7)]


@pytest.fixture
def quick(builds, monkeypatch):
    """Packages whose contents are ready, and few, so that writing them is all there is to do."""
    read = {build: packages.read_build(build) for build in builds}
    monkeypatch.setattr(packages, "read_build", read.__getitem__)
    whole = {count: packages.files(list(read.values())[:count], BOARD) for count in (1, 2)}
    parts = (
        "package.json",
        "hardware/open.sh",
        *(f"models/{n}/{f}" for n in NAMES for f in ("model", "program", "wei")),
    )
    ready = {count: {n: c for n, c in files.items() if n.startswith(parts)} for count, files in whole.items()}
    monkeypatch.setattr(packages, "files", lambda builds, board, note: ready[len(builds)])


def models(folder):
    """Names of a package's models, every byte of which is checked."""
    verify_manifest(folder)
    found = read_package(folder)
    for name in found.models:
        found.model(name).images()
    return found.models


def test_a_package_that_is_killed_at_any_step_is_the_old_one_or_the_new_one(builds, quick, tmp_path):
    target = tmp_path / "package"
    for _ in crashes(lambda: package(builds, BOARD, target)):
        if target.exists():
            assert models(target) == NAMES
            break
    package(builds[:1], BOARD, target)
    seen = []
    for _ in crashes(lambda: package(builds, BOARD, target)):
        seen.append(models(target))
        if seen[-1] == NAMES:
            package(builds[:1], BOARD, target)
    assert set(seen) == {NAMES, NAMES[:1]}
    package(builds, BOARD, target)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package"]


def killed_after(seconds, work):
    child = os.fork()
    if child == 0:
        try:
            work()
        finally:
            os._exit(0)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


@pytest.mark.parametrize("kills", [6, pytest.param(600, marks=pytest.mark.slow)])
def test_kill_9_at_random_moments_leaves_nothing_half_written(builds, tmp_path, kills):
    """The whole command, reading and archive included."""
    target, zipped, moments = tmp_path / "package", tmp_path / "package.zip", random.Random(1)

    def work():
        package(builds, BOARD, target)
        archive(target, zipped)

    began = time.monotonic()
    package(builds[:1], BOARD, target)
    work()
    whole = time.monotonic() - began
    content = zipped.read_bytes()
    package(builds[:1], BOARD, target)
    for _ in range(kills):
        zipped.unlink(missing_ok=True)
        killed_after(moments.uniform(0, whole), work)
        assert models(target) in (NAMES, NAMES[:1])
        assert not zipped.exists() or zipped.read_bytes() == content
        if models(target) == NAMES:
            package(builds[:1], BOARD, target)
    work()
    assert zipped.read_bytes() == content
    assert sorted(path.name for path in tmp_path.iterdir()) == ["package", "package.zip"]


def test_a_package_that_another_process_writes_is_refused(builds, tmp_path):
    target = tmp_path / "package"
    package(builds[:1], BOARD, target)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with in_use(target):
            os.write(writer, b"held")
            time.sleep(60)
        os._exit(0)
    try:
        assert os.read(reader, 4) == b"held"
        with pytest.raises(HwsegError, match=rf"package: is in use by another hwseg, process {child}; wait until that"):
            package(builds, BOARD, target)
        assert models(target) == NAMES[:1]
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    package(builds, BOARD, target)
    assert models(target) == NAMES
