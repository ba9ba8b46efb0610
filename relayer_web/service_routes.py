"""Which paths of the relay port are not relays (spec/relayer.md §1.1). Every other path is one."""

from __future__ import annotations

from typing import Final

_EXACT: Final = frozenset({b"/health", b"/healthz", b"/ready"})
READY_PREFIX: Final = "/ready/"
_READY_PREFIX: Final = READY_PREFIX.encode()


def is_service_route(path: bytes) -> bool:
    """Tell whether `path` (without query) is answered by the relayer itself."""
    return path in _EXACT or path.startswith(_READY_PREFIX)
