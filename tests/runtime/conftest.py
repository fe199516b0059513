"""The driver's backends and the package that they run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from hwseg.runtime import Accelerator, read_package
from tests.runtime.cases import EXPECTED, make_package

BACKENDS = [
    "fake",
    pytest.param("simulation", marks=pytest.mark.verilator),
    pytest.param("board", marks=pytest.mark.board),
]


@pytest.fixture(scope="session")
def folder(tmp_path_factory):
    """A package; on a board, the one that HWSEG_PACKAGE names."""
    if named := os.environ.get("HWSEG_PACKAGE"):
        return Path(named)
    return make_package(tmp_path_factory.mktemp("package") / "package", tmp_path_factory.mktemp("builds"))


@pytest.fixture(scope="session")
def expected(folder):
    """(pixels, sums, masks) of several pictures by model."""
    with np.load(folder / EXPECTED) as content:
        names = {key.split("/")[0] for key in content}
        return {name: tuple(content[f"{name}/{what}"] for what in ("pixels", "sums", "masks")) for name in names}


@pytest.fixture(scope="module", params=BACKENDS)
def accelerator(request, folder):
    """An open accelerator of each backend, shared by the tests of a module."""
    if request.param == "fake":
        from tests.runtime.fake import FakeBoard

        package = read_package(folder)
        opened = Accelerator(package, FakeBoard(package))
    elif request.param == "board" and "HWSEG_PACKAGE" not in os.environ:
        pytest.skip("HWSEG_PACKAGE does not name a package whose bitstream is loaded")
    else:
        if request.param == "simulation":
            pytest.importorskip("cocotb")
        opened = Accelerator.open(folder, request.param)
    with opened:
        yield opened
