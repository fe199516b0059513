"""The metadata `hwseg.trust`: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from hwseg.errors import HwsegError
from hwseg.trust.fitted import TRUST, Trust, parse
from hwseg.trust.graph import _plain, digest, judge_of, trust_of
from hwseg.trust.judge import Judge, Review
from tests.quant.models import random_unet

ONE = Trust("ab" * 32, ("1.25",), 44, "patch", "0.125", 8, "defer 0.12")
THREE = replace(ONE, temperatures=("1", "0.7", "2.5"))


@pytest.mark.parametrize("trust", [ONE, THREE])
def test_what_is_written_is_read(trust: Trust) -> None:
    assert parse(trust.text(), trust.channels) == trust


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"graph": "zz"}, "graph must be a SHA-256"),
        ({"graph": 7}, "graph must be a SHA-256"),
        ({"temperatures": ["0"]}, "temperatures must be from 1/100 to 100"),
        ({"temperatures": ["-1"]}, "temperatures must be"),
        ({"temperatures": ["1e9"]}, "temperatures must be"),
        ({"temperatures": [1.5]}, "temperatures must be"),
        ({"temperatures": ["9" * 100_000]}, "temperatures must be"),
        ({"temperatures": "1"}, "must be a list"),
        ({"temperatures": []}, "must have 1 to 256"),
        ({"temperatures": ["1"] * 300, "channels": 300}, "must have 1 to 256"),
        ({"temperatures": ["1", "1"]}, "a temperature for each"),
        ({"temperatures": ["1", "1"], "channels": 2}, "is for a head of 2 channels, the network has 1"),
        ({"channels": 2}, "a temperature for each"),
        ({"bound": 256}, "bound must be an integer from 0 to 255"),
        ({"bound": True}, "bound must be an integer"),
        ({"bound": -1}, "bound must be an integer"),
        ({"score": "best"}, "score must be patch"),
        ({"score": ["patch"]}, "score must be patch"),
        ({"limit": "much"}, "limit must be a number"),
        ({"limit": 0.5}, "limit must be a number"),
        ({"pictures": "8"}, "pictures must be an integer"),
        ({"wanted": "a\x1b[31m"}, "wanted must be a line"),
        ({"wanted": "w" * 500}, "wanted must be a line"),
        ({"format": 2}, "must have format 1, has 2"),
        ({"more": 1}, "has the unknown key 'more'"),
    ],
)
def test_what_cannot_be_is_refused(change: dict[str, Any], sentence: str) -> None:
    with pytest.raises(HwsegError, match=sentence) as caught:
        parse(json.dumps(json.loads(ONE.text()) | change), 1, "net, metadata hwseg.trust")
    assert caught.value.place == "net, metadata hwseg.trust"
    assert caught.value.cure


@pytest.mark.parametrize("key", json.loads(ONE.text()))
def test_every_key_is_needed(key: str) -> None:
    content = json.loads(ONE.text())
    del content[key]
    with pytest.raises(HwsegError, match=f"must have the key {key}|must have format 1, has None"):
        parse(json.dumps(content), 1)


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "null", "[" * 100_000])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(HwsegError, match=r"must be (JSON|a table)"):
        parse(text, 1)


def test_a_judge_belongs_to_its_network(tmp_path: Any) -> None:
    from hwseg import golden
    from hwseg.quant.read.load import load
    from hwseg.reach import reshaped

    graph, other = (load(random_unet(seed, tmp_path)) for seed in (1, 7))
    channels = graph.types[graph.head.tensor].shape[2]
    trust = replace(ONE, graph=digest(graph), temperatures=("1.5",) * channels)
    assert digest(graph) != digest(other)
    assert trust_of(graph) is None
    with pytest.raises(HwsegError, match="fit it with hwseg trust MODEL --data DIR"):
        judge_of(graph)
    fitted = replace(graph, name="renamed", metadata={TRUST: trust.text()})
    assert trust_of(fitted) == trust
    height, width = (2 * n for n in graph.types[graph.input].shape[:2])
    assert trust_of(reshaped(fitted, (height, width))) == trust
    wrong = replace(other, metadata={TRUST: replace(trust, temperatures=("1",) * len(other.head.scale)).text()})
    with pytest.raises(HwsegError, match=r"was fitted to another network|is for a head of"):
        trust_of(wrong)
    weights = next(node for node in graph.nodes if node.weights is not None)
    changed = weights.weights.copy()  # type: ignore[union-attr]
    changed.flat[0] ^= 1
    nodes = tuple(replace(node, weights=changed) if node is weights else node for node in graph.nodes)
    with pytest.raises(HwsegError, match="was fitted to another network"):
        trust_of(replace(fitted, nodes=nodes))
    kind = graph.types[graph.input]
    picture = np.random.default_rng(0).integers(kind.low, kind.high, kind.shape, endpoint=True)
    result, judge = golden.run(graph, picture), judge_of(fitted)
    confidence = judge.confidence(result.tensors[graph.head.tensor], result.mask)
    assert confidence.shape == result.mask.shape
    assert confidence.dtype == np.uint8
    assert (judge.deferred(confidence) == (confidence < 44)).all()
    assert isinstance(judge, Judge)


def test_what_an_operation_learns_later_changes_no_digest() -> None:
    """A field that is new and has its default is not in it."""

    @dataclass(frozen=True)
    class Older:
        kernel: int
        stride: int = 1

    @dataclass(frozen=True)
    class Newer(Older):
        groups: int = 1

    assert _plain(Older(3)) == _plain(Newer(3)) == [("kernel", 3)]
    assert _plain(Newer(3, groups=2)) != _plain(Newer(3))
    assert _plain(Older(3, 2)) != _plain(Older(3))


def test_a_review_says_why() -> None:
    assert str(Review("patch", 0.25, 0.125)) == "review: mean doubt of the worst patch is 0.25, above 0.125"
    assert str(Review("mean", 0.125, 0.125)) == "accept: mean doubt of all pixels is 0.125, at most 0.125"
