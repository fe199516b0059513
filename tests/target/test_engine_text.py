"""The engine's Verilog from the cache, from another process, or made here: always the same text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwseg.rtl.config import PRESETS, EngineConfig, parse_array
from hwseg.rtl.engine import verilog
from hwseg.target import engine_text
from tests.faults.cache import empty_but_for_yosys

PATIENCE = 300
"""Seconds; a loaded machine is no reason to fail."""


@pytest.fixture(scope="module")
def config() -> EngineConfig:
    return parse_array("8x1x1")


@pytest.fixture(scope="module")
def text(config: EngineConfig) -> str:
    return verilog(config)


def test_another_process_fills_the_cache(
    config: EngineConfig, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(empty_but_for_yosys(tmp_path)))
    monkeypatch.setattr("hwseg.rtl.engine.verilog", lambda _: "made here")
    assert engine_text.in_background(config).result(PATIENCE) == text
    monkeypatch.setattr(engine_text, "_elsewhere", lambda _: "made again")
    assert engine_text.in_background(config).result(PATIENCE) == text


@pytest.mark.parametrize("damage", ["emptied", "cut", "one sign"])
def test_a_damaged_entry_is_made_again(
    config: EngineConfig, text: str, damage: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr("hwseg.rtl.engine.verilog", lambda _: text)
    assert engine_text.engine_verilog(config) == text
    (entry,) = (tmp_path / "hwseg" / engine_text.KIND).iterdir()
    sound = entry.read_bytes()
    entry.write_bytes(
        {"emptied": b"", "cut": sound[: len(sound) // 2], "one sign": sound.replace(b"+", b"-", 1)}[damage]
    )
    assert entry.read_bytes() != sound
    assert engine_text.engine_verilog(config) == text
    assert engine_text.in_background(config).result(PATIENCE) == text
    assert entry.read_bytes() == sound


def test_without_another_process_or_a_cache_it_is_made_here(
    config: EngineConfig, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_text.in_background(config).result(PATIENCE) == text
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert engine_text.in_background(config).result(PATIENCE) == text


def test_the_full_engine_is_under_three_megabytes() -> None:
    """`benchmarks/elaboration.py` measures its time."""
    assert 500_000 < len(engine_text.engine_verilog(PRESETS["zynq7020"]).encode()) < 3_000_000
