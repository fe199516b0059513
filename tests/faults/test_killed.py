"""Commands killed at random moments; `python -m tests.faults.killed` kills a thousand."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.killed import SHARES, orphans
from tests.faults.small import environment


def campaign(*words: str) -> dict[str, int]:
    """Trials of each command."""
    command = [sys.executable, "-W", "ignore", "-m", "tests.faults.killed", *words]
    root = str(Path(__file__).parents[2])
    done = subprocess.run(command, capture_output=True, text=True, env=environment({}), cwd=root, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return {name: int(count) for name, count in re.findall(r"(\w+): (\d+) killed and repeated", done.stdout)}


def test_a_few_killed_compilations_packages_and_reports() -> None:
    found = campaign("--count", "8", "--command", "compile", "--command", "package", "--command", "report")
    assert found == {"compile": 5, "package": 2, "report": 1}


def test_a_few_killed_trainings() -> None:
    pytest.importorskip("brevitas")
    assert campaign("--count", "3", "--command", "train") == {"train": 3}


@pytest.mark.verilator
def test_a_few_killed_simulations() -> None:
    assert campaign("--count", "2", "--command", "simulate") == {"simulate": 2}
    assert orphans() == []


@pytest.mark.slow
@pytest.mark.verilator
def test_a_thousand_killed_commands() -> None:
    pytest.importorskip("brevitas")
    found = campaign("--count", "1000", "--seed", "1")
    assert set(found) == set(SHARES)
    assert sum(found.values()) == 1000
