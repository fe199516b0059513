"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of picture sets, from HWSEG_DATA."""
    folder = os.environ.get("HWSEG_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("HWSEG_DATA does not name the folder of picture sets")
    return Path(folder)
