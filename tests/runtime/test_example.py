"""examples/board_runtime.py in simulation."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.runtime.test_tiles import packaged
from tests.segment.networks import blobs

pytestmark = [pytest.mark.verilator]


def test_the_example_writes_the_mask_of_a_picture_of_another_size(tmp_path, capsys):
    pytest.importorskip("cocotb")
    path = Path(__file__).parents[2] / "examples" / "board_runtime.py"
    specification = importlib.util.spec_from_file_location("board_runtime", path)
    assert specification is not None
    assert specification.loader is not None
    example = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(example)
    picture, mask = tmp_path / "picture.png", tmp_path / "mask.png"
    Image.fromarray(blobs((30, 40))).save(picture)
    case = packaged(tmp_path / "work")
    result = example.main(case.folder, picture, mask, "simulation")
    assert (np.asarray(Image.open(mask)) > 0).tolist() == (result.mask > 0).tolist()
    assert result.mask.shape == (30, 40)
    assert 0 < result.mask.mean() < 1
    assert "net: 4 tiles, " in capsys.readouterr().out
