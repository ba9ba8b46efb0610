"""Connections are open files: how many a front-end process may take with the files the system allows it.

A WebSocket and a stream are two files, the client's and the backend's, and so is a relay on its way. A process that
runs out of files fails relays in their middle, at the backend or at the store; one that takes fewer connections
leaves them to its siblings, or in the queue.
"""

from __future__ import annotations

import resource
from typing import Final

import structlog

FILES_PER_CONNECTION: Final = 2
OTHER_FILES: Final = 512  # listeners, store, chain, idle connections to backends, logs
LEAST_CONNECTIONS: Final = 16

log = structlog.get_logger("relayer")


def files_for(connections: int) -> int:
    """Return how many open files a process with so many connections needs."""
    return FILES_PER_CONNECTION * connections + OTHER_FILES


def allow_files(connections: int) -> None:
    """Raise this process's limit, and that of all it starts, to what `connections` need, as far as the system lets."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files_for(connections)
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def connections_allowed(wanted: int) -> int:
    """Return how many connections this process may have at once: `wanted`, or fewer when files are too few."""
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    if limit == resource.RLIM_INFINITY or limit >= files_for(wanted):
        return wanted
    return max((limit - OTHER_FILES) // FILES_PER_CONNECTION, LEAST_CONNECTIONS)


def log_too_few_files(wanted: int) -> None:
    """Say it when the system allows fewer files than `wanted` connections need."""
    allowed = connections_allowed(wanted)
    if allowed < wanted:
        log.warning(
            "the limit of open files is too low: front-end processes take fewer connections",
            open_files=resource.getrlimit(resource.RLIMIT_NOFILE)[0],
            needed=files_for(wanted),
            connections=allowed,
            configured=wanted,
        )
