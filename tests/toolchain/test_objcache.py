"""The compile cache: the same object for the same command and source, the compiler for everything else."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from hwseg.toolchain import objcache

pytestmark = pytest.mark.skipif(shutil.which("g++") is None, reason="needs g++")

Compile = Callable[..., int]


@pytest.fixture
def compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compile:
    """Compile a.cpp through the cache; the number of times that the real compiler wrote an object."""
    (tmp_path / "bin").mkdir()
    counter = tmp_path / "bin" / "counting-g++"
    counter.write_text(
        f'#!/bin/sh\ncase " $* " in *" -E "*|*--version*) ;; *) echo x >> {tmp_path}/count ;; esac\nexec g++ "$@"\n'
    )
    counter.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "count").write_text("")

    def run(*options: str, output: str = "a.o", status: int = 0) -> int:
        command = [str(counter), *options, "-c", "-o", output, "a.cpp"]
        assert objcache.main(str(tmp_path / "cache"), *command) == status
        return len((tmp_path / "count").read_text().splitlines())

    return run


def answer(folder: Path) -> int:
    (folder / "main.cpp").write_text("int answer(); int main() { return answer(); }")
    subprocess.run(["g++", "main.cpp", "a.o", "-o", "answer"], cwd=folder, check=True)
    return subprocess.run([folder / "answer"], check=False).returncode


def test_the_second_time_comes_from_the_cache(tmp_path: Path, compiled: Compile) -> None:
    (tmp_path / "a.cpp").write_text("int answer() { return 42; }")
    assert compiled("-Os", "-MMD") == 1
    (tmp_path / "a.o").unlink()
    assert compiled("-Os", "-MMD") == 1
    assert answer(tmp_path) == 42
    assert (tmp_path / "a.d").read_text().startswith("a.o:")


def test_a_damaged_object_is_made_again(tmp_path: Path, compiled: Compile) -> None:
    (tmp_path / "a.cpp").write_text("int answer() { return 42; }")
    assert compiled("-Os") == 1
    (kept,) = (tmp_path / "cache").rglob("*.o")
    sound = kept.read_bytes()
    positions = [0, 31, 32, len(sound) // 2, len(sound) - 1]
    damages = [sound[:i] + bytes([sound[i] ^ 1]) + sound[i + 1 :] for i in positions]
    damages += [b"", sound[:32], sound[:-1], sound + b"\0"]
    for number, damaged in enumerate(damages):
        kept.write_bytes(damaged)
        assert compiled("-Os") == 2 + number
        assert kept.read_bytes() == sound
        assert answer(tmp_path) == 42


def test_the_object_of_another_command_is_not_taken(tmp_path: Path, compiled: Compile) -> None:
    (tmp_path / "a.cpp").write_text("int answer() { return ANSWER; }")
    compiled("-DANSWER=1")
    (one,) = (tmp_path / "cache").rglob("*.o")
    compiled("-DANSWER=2")
    (two,) = set((tmp_path / "cache").rglob("*.o")) - {one}
    shutil.copyfile(one, two)
    assert compiled("-DANSWER=2") == 3
    assert answer(tmp_path) == 2


def test_source_header_and_option_are_part_of_the_key(tmp_path: Path, compiled: Compile) -> None:
    (tmp_path / "a.h").write_text("#define ANSWER 1\n")
    (tmp_path / "a.cpp").write_text('#include "a.h"\nint answer() { return ANSWER + MORE; }')
    assert compiled("-DMORE=0") == 1
    (tmp_path / "a.h").write_text("#define ANSWER 2\n")
    assert compiled("-DMORE=0") == 2
    assert answer(tmp_path) == 2
    assert compiled("-DMORE=3") == 3
    assert answer(tmp_path) == 5
    assert compiled("-DMORE=3", "-O2") == 4


def test_another_folder_of_the_same_headers_is_the_same(tmp_path: Path, compiled: Compile) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.h").write_text("#define ANSWER 1\n")
    (tmp_path / "a.cpp").write_text("#include <a.h>\nint answer() { return ANSWER; }")
    assert compiled("-Ione") == 1
    assert compiled("-Itwo") == 1


def test_a_source_that_does_not_compile_fails_each_time(tmp_path: Path, compiled: Compile) -> None:
    (tmp_path / "a.cpp").write_text("int answer() { return nonsense; }")
    assert compiled(status=1) == 1
    assert compiled(status=1) == 2
    assert not (tmp_path / "a.o").exists()


@pytest.mark.parametrize("options", [("-g",), ("-include", "a.h"), ("-fsyntax-only",)])
def test_commands_without_a_certain_key_go_to_the_compiler(
    tmp_path: Path, compiled: Compile, options: tuple[str, ...]
) -> None:
    (tmp_path / "a.h").write_text("")
    (tmp_path / "a.cpp").write_text("int answer() { return 1; }")
    assert [compiled(*options), compiled(*options)] == [1, 2]


def test_a_cache_that_cannot_be_written_is_no_fault(tmp_path: Path, compiled: Compile) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    (tmp_path / "a.cpp").write_text("int answer() { return 1; }")
    assert compiled() == 1
    assert answer(tmp_path) == 1


def test_objects_that_nobody_took_for_long_are_dropped(tmp_path: Path, compiled: Compile) -> None:
    cache = tmp_path / "cache"
    (tmp_path / "a.cpp").write_text("int answer() { return 1; }")
    compiled()
    (old,) = cache.rglob("*.o")
    os.utime(old, (0, 0))
    objcache.prune(cache)
    assert not old.exists()
    compiled()
    objcache.prune(cache)
    assert len(list(cache.rglob("*.o"))) == 1


def test_it_runs_as_a_script_with_the_standard_library_alone(tmp_path: Path) -> None:
    (tmp_path / "a.cpp").write_text("int answer() { return 7; }")
    script = [sys.executable, "-I", "-S", objcache.__file__, str(tmp_path / "cache")]
    subprocess.run([*script, "g++", "-c", "-o", "a.o", "a.cpp"], cwd=tmp_path, check=True)
    assert answer(tmp_path) == 7
    assert len(list((tmp_path / "cache").rglob("*.o"))) == 1
