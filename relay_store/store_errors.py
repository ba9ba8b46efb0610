"""What the store answers when it cannot do its work, as leaves of the error tree.

StoreUnavailable(Unavailable)   no answer, a node that is loading, read-only, failing over …
+-- StoreFull                   out of memory: writes are refused, reads and deletions go on
StoreRefused(Refused)           a command the server does not take: wrong type, no permission, …
StoreUrlInvalid(Malformed)      the configured URL names no store
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from redis import exceptions

from pocket_protocol.errors import Malformed, PocketError, Refused, Unavailable

_PASSING_PREFIXES = ("LOADING", "NOREPLICAS", "MISCONF", "MASTERDOWN", "CLUSTERDOWN", "TRYAGAIN", "BUSY ")
_PASSING = (
    exceptions.ConnectionError,
    exceptions.TimeoutError,
    exceptions.ReadOnlyError,
    exceptions.AskError,
    exceptions.TryAgainError,
    exceptions.ClusterError,
    exceptions.RedisClusterException,
)


class StoreUnavailable(Unavailable):
    """The store did not answer, or cannot serve now. Whether a command was carried out is not known."""

    reason = "store_unavailable"
    summary = "store is unavailable"


class StoreFull(StoreUnavailable):
    """The store is out of memory and refuses writes."""

    reason = "store_full"
    summary = "store is out of memory"


class StoreRefused(Refused):
    """The store refuses a command for good. `code` is the first word of its answer: WRONGTYPE, NOGROUP, …"""

    reason = "store_refused"
    summary = "store refused a command"
    code: str


class StoreUrlInvalid(Malformed):
    """A store URL that cannot be read. The URL itself is not shown: it may hold a password."""

    reason = "store_url_invalid"
    summary = "store URL cannot be used"


def store_error(error: Exception) -> PocketError:
    """Return the leaf for an error of the client library."""
    text = str(error)
    if isinstance(error, exceptions.OutOfMemoryError) or "OOM command not allowed" in text:
        return StoreFull()
    if isinstance(error, _PASSING) or text.startswith(_PASSING_PREFIXES):
        return StoreUnavailable(cause=type(error).__name__, text=text[:200])
    # The client library takes the code off this answer.
    code = "NOPERM" if isinstance(error, exceptions.NoPermissionError) else text.partition(" ")[0]
    return StoreRefused(code=code, text=text[:200])


@contextmanager
def store_errors() -> Iterator[None]:
    """Raise what the client library raises inside as leaves of the error tree."""
    try:
        yield
    except (exceptions.RedisError, exceptions.RedisClusterException) as error:
        raise store_error(error) from error
