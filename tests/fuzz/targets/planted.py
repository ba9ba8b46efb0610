"""Targets with defects, to see that each kind of them is found."""

from __future__ import annotations

import os

from tests.fuzz.target import Target
from tests.fuzz.targets.messages import plain

WORD = b"word"


def raise_at_word(data: bytes) -> bool:
    if data.startswith(WORD):
        raise KeyError("planted")
    return bool(data)


def loop_at_word(data: bytes) -> bool:
    while data.startswith(WORD):
        pass
    return True


def die_at_word(data: bytes) -> bool:
    if data.startswith(WORD):
        os._exit(3)
    return True


RAISES = Target(lambda: [b"abc"], plain(raise_at_word), (WORD,))
LOOPS = Target(lambda: [b"abc"], plain(loop_at_word), (WORD,))
DIES = Target(lambda: [b"abc"], plain(die_at_word), (WORD,))
