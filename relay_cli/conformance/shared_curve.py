"""The curve the checks compute with: made once, any backend will do."""

from __future__ import annotations

import functools

from pocket_protocol.curve import Curve, load_curve


@functools.cache
def shared_curve() -> Curve:
    """Return the fastest curve that is installed."""
    return load_curve(allow_slow_python=True)
