"""A virtual environment for each tool, beside the project's, from a list of exact versions."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).parent
DISTRIBUTIONS = {"finn": "finn-plus", "hls4ml": "hls4ml"}
"""What a tool's environment has to hold."""

WAIT = 60
"""Seconds for an interpreter to say what it has."""


def requirements(tool: str) -> Path:
    """The exact set that was tested, everything that the tool's steps here import included."""
    return HERE / f"{tool}.txt"


def python(tool: str, folder: Path) -> Path:
    """The interpreter of `folder`/`tool`, installed where it does not exist or its list has changed."""
    wanted = requirements(tool).read_text()
    home = folder / tool
    made, found = home / "installed.txt", home / "bin" / "python"
    if made.is_file() and made.read_text() == wanted:
        return found
    print(f"{home}: installing {requirements(tool).name} (minutes)", flush=True)
    venv.create(home, clear=True, with_pip=True)
    # The list is whole, so nothing that it does not name is fetched.
    command = [str(found), "-m", "pip", "install", "--quiet", "--no-deps", "-r", str(requirements(tool))]
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(f"{home}: pip ended with status {done.returncode}; try again, or name an environment with --{tool}")
    made.write_text(wanted)
    return found


def has(tool: str, interpreter: Path) -> bool:
    """Whether a file is a Python interpreter in whose environment the tool is installed."""
    script = f"import importlib.metadata; print(importlib.metadata.version({DISTRIBUTIONS[tool]!r}))"
    command = ["env", "-u", "PYTHONPATH", str(interpreter.absolute()), "-c", script]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=WAIT, check=False, stdin=subprocess.DEVNULL
        )
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and bool(done.stdout.strip())
