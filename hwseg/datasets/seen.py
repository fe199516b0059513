"""Which pictures a network has seen: digests in its file's metadata, `hwseg.seen`, JSON.

    {"format": 1, "digest": "sha256 of pixels", "bytes": 16, "complete": true, "train": base64, "val": base64}

train: what its weights were learned from, here and in every network that it began with.  val: what the best of its
checkpoints was chosen by.  The digests (`content.digest`) are sorted and joined; 16 bytes of each are kept, or 8 where
there are more than 65,536, so that the list stays below 1.5 MB, or 11 bytes for each picture.  complete: false where a
network that it began with did not say what it had seen.  A file without the key says nothing, and nothing is concluded
from that.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hwseg.datasets.content import WIDTH
from hwseg.datasets.pairs import Pair
from hwseg.errors import HwsegError, require

SEEN = "hwseg.seen"
"""Key of the metadata."""

FORMAT, DIGEST = 1, "sha256 of pixels"
SHORT, MANY = 8, 1 << 16
MOST = 1 << 20
"""Most pictures that a file lists."""

NAMED = 5
"""Pictures that a sentence names."""

CURE = "export the network again"


@dataclass(frozen=True)
class Seen:
    """Digests, of `WIDTH` bytes or less.  known: whether that is all: an older hwseg did not write them down."""

    train: frozenset[bytes] = field(default=frozenset())
    val: frozenset[bytes] = field(default=frozenset())
    known: bool = True

    def __or__(self, other: Seen) -> Seen:
        """What both have seen; a digest that is short in one is short in both."""
        return Seen(self.train | other.train, self.val | other.val, self.known and other.known)

    def text(self) -> str:
        """JSON, as `parse` reads it."""
        digests = self.train | self.val
        count = len(digests)
        require(count <= MOST, SEEN, f"must list at most {MOST} pictures, lists {count}", "train on fewer")
        width = min((SHORT if count > MANY else WIDTH, *map(len, digests)))
        content: dict[str, Any] = {"format": FORMAT, "digest": DIGEST, "bytes": width, "complete": self.known}
        for name, listed in (("train", self.train), ("val", self.val)):
            content[name] = base64.b64encode(b"".join(sorted({one[:width] for one in listed}))).decode()
        return json.dumps(content, sort_keys=True)

    def of_training(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those of the pictures that it was trained on."""
        return _among(pairs, self.train)

    def of_validation(self, pairs: Sequence[Pair]) -> list[Pair]:
        """Those that it was chosen by, and not trained on."""
        trained = {id(pair) for pair in self.of_training(pairs)}
        return [pair for pair in _among(pairs, self.val) if id(pair) not in trained]


def _among(pairs: Sequence[Pair], digests: frozenset[bytes]) -> list[Pair]:
    width = min(map(len, digests), default=0)
    cut = {digest[:width] for digest in digests}
    return [pair for pair in pairs if width and pair.digest[:width] in cut]


def of_parts(parts: Mapping[str, Sequence[Pair]]) -> Seen:
    """What a run sees of its data."""
    train, val = (frozenset(pair.digest for pair in parts.get(part, ())) for part in ("train", "val"))
    return Seen(train, val)


def parse(text: str, place: str) -> Seen:
    """From JSON; HwsegError for anything that is not understood."""
    try:
        content = json.loads(text)
        width = content["bytes"]
        whole = type(width) is int and width in range(SHORT, WIDTH + 1)
        fits = whole and content["format"] == FORMAT and content["digest"] == DIGEST
        require(fits, place, f"must be of format {FORMAT}, is not", "use a newer hwseg")
        lists = [base64.b64decode(content[name], validate=True) for name in ("train", "val")]
        whole = all(len(joined) % width == 0 and len(joined) // width <= MOST for joined in lists)
        require(whole, place, f"must be lists of {width} bytes each, is cut", CURE)
    except (ValueError, TypeError, KeyError, RecursionError, binascii.Error) as error:
        raise HwsegError(place, "is damaged: it must be what hwseg export writes", CURE) from error
    train, val = (frozenset(joined[i : i + width] for i in range(0, len(joined), width)) for joined in lists)
    return Seen(train, val, content["complete"] is True)


def declared(metadata: Mapping[str, str], place: str) -> Seen:
    """What a model's metadata say; without them nothing is known."""
    if SEEN not in metadata:
        return Seen(known=False)
    return parse(metadata[SEEN], f"{place}, metadata {SEEN}")


def named(pairs: Sequence[Pair]) -> str:
    """A few of the pictures by name."""
    names = ", ".join(pair.name for pair in pairs[:NAMED])
    return names + (f" and {len(pairs) - NAMED} more" if len(pairs) > NAMED else "")


def sentences(seen: Seen, parts: Mapping[str, Sequence[Pair]], who: str) -> list[str]:
    """Which pictures of each part a network knows from before."""
    found = []
    for part, pairs in parts.items():
        for doing, known in (("was trained on", seen.of_training(pairs)), ("was chosen by", seen.of_validation(pairs))):
            if known:
                found.append(f"{who} {doing} {len(known)} of the {len(pairs)} {part} pictures: {named(known)}")
    return found
