"""The error tree of the protocol.

    PocketError                      every refusal and failure of ours; `reason` is its metrics label
    +-- Malformed                    bytes or text that are not what they should be
    +-- Refused                      well-formed, but against a rule of the network
    +-- Unavailable                  cannot be decided now (a dependency did not answer); may be tried again

Each leaf is a class with its own `reason` (one lower-case label), carries the values that explain it
as attributes, and renders them in `str()`. Leaves live in the module whose rule they state. What a
client is told (HTTP status, gRPC code, text) is one table in `relayer_web`; a test proves it total.
"""

from __future__ import annotations

from typing import ClassVar


class PocketError(Exception):
    """Root of the tree. Keyword values given to a leaf become attributes and are shown in its text."""

    reason: ClassVar[str] = "error"
    summary: ClassVar[str] = "pocket error"

    def __init__(self, detail: str = "", **values: object) -> None:
        self.detail = detail
        self.values = values
        for name, value in values.items():
            setattr(self, name, value)
        super().__init__(detail or self.summary)

    def __str__(self) -> str:
        text = self.detail or self.summary
        if not self.values:
            return text
        return f"{text} ({', '.join(f'{k}={v!r}' for k, v in self.values.items())})"


class Malformed(PocketError):
    """The input cannot be read at all."""

    reason = "malformed"
    summary = "malformed input"


class Refused(PocketError):
    """The input can be read and breaks a rule."""

    reason = "refused"
    summary = "refused"


class Unavailable(PocketError):
    """Not decidable now; the same call may succeed later."""

    reason = "unavailable"
    summary = "temporarily unavailable"
