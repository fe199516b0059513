"""What the scripts share that run in the tools' own environments, where nothing of hwseg is."""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

Told = dict[str, Any]
"""What `finding.read` takes."""


HERE = Path(__file__).parent


def tell(work: Callable[[str, Path, Told, Told], None]) -> None:
    """`work`(MODEL, FOLDER, REQUEST, told) fills `told`, which is written whatever ends it.

    `work` sets the outcome to "refused" when all is imported: from then on an error is the tool's refusal, but for
    errors that the scripts here raise.
    """
    model, folder, request = sys.argv[1], Path(sys.argv[2]), json.loads(sys.argv[3])
    told: Told = {"outcome": "crashed", "stage": "import"}
    try:
        work(model, folder, request, told)
        told["stage"] = ""
    except Exception as error:
        traceback.print_exc()
        told["said"] = f"{type(error).__name__}: {error}"
        raised_in = traceback.extract_tb(error.__traceback__)[-1].filename
        if Path(raised_in).parent == HERE:
            told["outcome"] = "crashed"
    (folder / "told.json").write_text(json.dumps(told, default=float))


def difference(wanted: Any, found: Any) -> str:
    """Two arrays of the same values, in whatever shape, compared in words."""
    import numpy as np

    wanted, found = np.ravel(wanted), np.ravel(found)
    if wanted.shape != found.shape:
        return f"{found.size:,} values, not {wanted.size:,}"
    different = int((wanted != found).sum())
    if not different:
        return "equal"
    return (
        f"{different:,} of {wanted.size:,} differ, by {np.abs(wanted - found).max():.3g} of {np.abs(wanted).max():.3g}"
    )
