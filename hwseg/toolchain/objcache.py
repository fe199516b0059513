"""A compile cache in one file: runs a compiler command, or takes the object that the same command made before.

    python objcache.py FOLDER g++ -Os -c -o verilated.o .../verilated.cpp

Used as OBJCACHE by Verilator's makefiles where there is no ccache, and run by path, so it imports the standard library
only.  The key is the compiler's identity, its options and the preprocessed source.  A kept object begins with the
SHA-256 of key and object; one that does not match is made again.  Commands that it cannot key for
certain (a precompiled header, several sources, no -c) go to the compiler untouched: they are a design's own code, and a
whole design is cached elsewhere.  Verilator's runtime is the same for every design.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SOURCES = (".cpp", ".cc", ".c")
UNTOUCHED = ("-include", "-fsyntax-only", "-S", "-E")
"""Options after which the object is not a function of the preprocessed source; -g is another."""

DIGEST = hashlib.sha256().digest_size
KEEP_SECONDS = 60 * 24 * 3600


def main(folder: str, *command: str) -> int:
    """Exit status of the compiler, or 0 for an object from the cache."""
    files = output_and_source(command)
    if files is None:
        return subprocess.run(command, check=False).returncode
    output, source = files
    key = key_of(command, source)
    if key is None:
        return subprocess.run(command, check=False).returncode
    kept = Path(folder, key[:2], key + ".o")
    if take(kept, output, command):
        return 0
    status = subprocess.run(command, check=False).returncode
    if status == 0 and Path(output).is_file():
        keep(Path(output), kept)
    return status


def output_and_source(command: tuple[str, ...]) -> tuple[str, str] | None:
    """The object that the command writes and the one source that it reads, where both are plain to see."""
    sources = [word for word in command[1:] if word.endswith(SOURCES) and not word.startswith("-")]
    odd = any(word in UNTOUCHED or word.startswith("-g") for word in command[1:])
    if odd or "-c" not in command or "-o" not in command[:-1] or len(sources) != 1:
        return None
    output = command[command.index("-o") + 1]
    return (output, sources[0]) if output.endswith(".o") else None


def key_of(command: tuple[str, ...], source: str) -> str | None:
    """Digest of compiler, options and preprocessed source; None where it does not preprocess."""
    skip = {"-MMD", "-MP", "-MD", "-c", source}
    output = command.index("-o")
    options = [w for i, w in enumerate(command[1:], 1) if w not in skip and i not in (output, output + 1)]
    text = subprocess.run([command[0], *options, "-E", "-P", source], capture_output=True, check=False)
    if text.returncode != 0:
        return None
    compiler = shutil.which(command[0]) or command[0]
    identity = subprocess.run([compiler, "--version"], capture_output=True, check=False).stdout
    digest = hashlib.sha256(b"2")
    for part in (identity, "\0".join(w for w in options if not w.startswith("-I")).encode(), text.stdout):
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.hexdigest()


def take(kept: Path, output: str, command: tuple[str, ...]) -> bool:
    """Put a sound kept object where the command would; make's dependency file then has no prerequisites."""
    try:
        found = kept.read_bytes()
        content = found[DIGEST:]
        if found[:DIGEST] != digest_of(kept, content):
            return False
        Path(output).write_bytes(content)
        if "-MMD" in command or "-MD" in command:
            Path(output).with_suffix(".d").write_text(f"{output}:\n")
        os.utime(kept)
    except OSError:
        return False
    return True


def digest_of(kept: Path, content: bytes) -> bytes:
    """What a kept object begins with."""
    return hashlib.sha256(kept.name.encode() + b"\n" + content).digest()


def keep(output: Path, kept: Path) -> None:
    """Store an object, whole or not at all; a cache that cannot be written is no reason to fail."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        content = output.read_bytes()
        handle, scratch = tempfile.mkstemp(dir=kept.parent)
        try:
            with open(handle, "wb") as file:
                file.write(digest_of(kept, content) + content)
            os.replace(scratch, kept)
            if kept.name.startswith("00"):
                prune(kept.parent.parent)
        finally:
            Path(scratch).unlink(missing_ok=True)
    except OSError:
        pass


def prune(folder: Path) -> None:
    """Delete the objects that nobody took for two months."""
    for path in folder.glob("*/*"):
        if path.stat().st_mtime < time.time() - KEEP_SECONDS:
            path.unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
