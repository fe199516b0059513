"""The driver as a wheel, so that it installs on a board without internet; and archives that depend on contents alone.

The format is that of the binary distribution format's specification, version 1.0 (packaging.python.org).
"""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Mapping

import hwseg

EPOCH = (1980, 1, 1, 0, 0, 0)
"""The date of every file in an archive, so that bytes depend on contents alone."""

NAME = "hwseg-runtime"
ABOUT = "hwseg's driver for a board: pictures in, masks out"
PYTHON, NEEDS = ">=3.10", "numpy>=1.21"
PROGRAM = "hwseg.segment.program:main"
"""What the command `hwseg` is on a board."""

FILE = f"{NAME.replace('-', '_')}-{hwseg.__version__}-py3-none-any.whl"


def wheel(modules: Mapping[str, bytes], licence: bytes) -> bytes:
    """The wheel `FILE` of modules by their paths (`hwseg/errors.py`)."""
    info = f"{NAME.replace('-', '_')}-{hwseg.__version__}.dist-info"
    about = (
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {hwseg.__version__}\nSummary: {ABOUT}\n"
        f"License: Apache-2.0\nRequires-Python: {PYTHON}\nRequires-Dist: {NEEDS}\n"
    )
    content = {
        **modules,
        f"{info}/METADATA": about.encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: hwseg\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\nhwseg = {PROGRAM}\n".encode(),
        f"{info}/licenses/LICENSE": licence,
    }
    record = f"{info}/RECORD"
    rows = [f"{name},{_digest(content[name])},{len(content[name])}" for name in sorted(content)]
    return zipped(content | {record: "\n".join([*rows, f"{record},,", ""]).encode()})


def _digest(content: bytes) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


def zipped(content: Mapping[str, bytes]) -> bytes:
    """A ZIP archive that depends on names and contents alone."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file:
        for name in sorted(content):
            entry = zipfile.ZipInfo(name, EPOCH)
            entry.external_attr = (0o755 if name.endswith(".sh") else 0o644) << 16
            entry.create_system = 3
            entry.compress_type = zipfile.ZIP_DEFLATED
            file.writestr(entry, content[name])
    return buffer.getvalue()
