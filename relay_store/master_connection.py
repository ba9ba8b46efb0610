"""Connections under Sentinel that leave a master which has been replaced (spec/miner.md §6.5).

A master that was cut off believes itself the master until the Sentinels correct it, which takes them eight seconds
and more. With `min-replicas-to-write` it says so earlier, by refusing writes: then the Sentinels are asked anew, as
the client library does by itself for a master that has become a replica.
"""

from __future__ import annotations

from typing import Any

from redis.exceptions import ConnectionError as LostConnection
from redis.exceptions import ResponseError
from redis.sentinel import SentinelManagedConnection, SentinelManagedSSLConnection

_DESERTED = "NOREPLICAS"


class _LeavesDeserted:
    """Mixed into a connection class of the client library."""

    def read_response(self, *args: Any, **kwargs: Any) -> Any:
        try:
            return super().read_response(*args, **kwargs)  # type: ignore[misc]
        except ResponseError as error:
            if not str(error).startswith(_DESERTED):
                raise
            self.disconnect()  # type: ignore[attr-defined]
            raise LostConnection(str(error)) from error


class MasterConnection(_LeavesDeserted, SentinelManagedConnection):
    """Over TCP."""


class MasterTlsConnection(_LeavesDeserted, SentinelManagedSSLConnection):
    """Over TLS."""
