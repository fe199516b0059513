"""The engine's Verilog from the cache, from another process, or made here: always the same text."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from hwseg.rtl.config import PRESETS, EngineConfig, parse_array
from hwseg.rtl.engine import verilog
from hwseg.target import engine_text


@pytest.fixture(scope="module")
def config() -> EngineConfig:
    return parse_array("8x1x1")


@pytest.fixture(scope="module")
def text(config: EngineConfig) -> str:
    return verilog(config)


def test_another_process_fills_the_cache(
    config: EngineConfig, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    engine_text._start(config)
    (made,) = tmp_path.rglob("top.v")
    assert made.read_text() == text
    monkeypatch.setattr("hwseg.rtl.engine.verilog", lambda _: "made again")
    assert engine_text.in_background(config).result(60) == text


def test_without_another_process_or_a_cache_it_is_made_here(
    config: EngineConfig, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert engine_text.in_background(config).result(60) == text
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert engine_text.in_background(config).result(60) == text


def test_the_full_engine_is_under_three_megabytes() -> None:
    """`benchmarks/elaboration.py` measures its time."""
    assert 500_000 < len(engine_text.engine_verilog(PRESETS["zynq7020"]).encode()) < 3_000_000
