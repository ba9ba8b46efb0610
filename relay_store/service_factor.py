"""How much of an application's stake a service may use, as the miners set it (spec/relayer.md §3.1, §3.2)."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from typing import Any, Final

from pocket_protocol.errors import Malformed
from relay_store.entity_cache import EntityCache, Lifetimes, no_count
from relay_store.store_errors import store_errors

FRESH_S: Final = 60.0


class UnreadableFactor(Malformed):
    """A service factor document that is not one."""

    reason = "service_factor"
    summary = "not a service factor"


def encode_factor(factor: float, updated_at_s: int) -> bytes:
    """Return the document {"factor":f,"updated_at":unix}."""
    whole = int(factor) if factor == int(factor) else factor
    return json.dumps({"factor": whole, "updated_at": updated_at_s}, separators=(",", ":")).encode()


def decode_factor(data: bytes) -> float:
    """Parse a document. Raises `UnreadableFactor`, also for a factor that is not a finite number above 0."""
    try:
        factor = float(json.loads(data)["factor"])
    except (ValueError, TypeError, KeyError, RecursionError, OverflowError) as error:
        raise UnreadableFactor(length=len(data)) from error
    if not math.isfinite(factor) or factor <= 0:
        raise UnreadableFactor(factor=factor)
    return factor


class ServiceFactors:
    """Reads and writes service factors. `factor_key(service)` spells a key, with "" for the default."""

    def __init__(
        self,
        client: Any,
        *,
        factor_key: Callable[[str], str],
        ttl_s: int = 7200,
        monotonic: Callable[[], float] = time.monotonic,
        count: Callable[[str, str, str], None] = no_count,
    ) -> None:
        self._client = client
        self._factor_key = factor_key
        self._ttl_s = ttl_s
        self._cache: EntityCache[str, float | None] = EntityCache(
            "service_factor",
            self._read,
            Lifetimes(fresh_s=FRESH_S, stale_s=FRESH_S),
            monotonic=monotonic,
            count=count,
        )

    def factor(self, service_id: str) -> float | None:
        """The service's own factor, else the default, else None. Raises `StoreUnavailable`."""
        for key in (service_id, ""):
            factor = self._cache.get(key)
            if factor is not None:
                return factor
        return None

    def forget(self, service_id: str) -> None:
        """Forget one service's factor; "" is the default."""
        self._cache.invalidate(service_id)

    def forget_all(self) -> None:
        self._cache.clear()

    def hear(self, payload: bytes) -> None:
        """Take an invalidation message {"service_id":"<id>"}; anything else forgets everything."""
        try:
            service_id = json.loads(payload)["service_id"]
        except (ValueError, TypeError, KeyError, RecursionError):
            self.forget_all()
            return
        if isinstance(service_id, str):
            self.forget(service_id)
        else:
            self.forget_all()

    def write(self, service_id: str, factor: float, updated_at_s: int) -> None:
        """Set a factor for the cache's life time; written again before it is over by whoever owns it."""
        self._client.set(self._factor_key(service_id), encode_factor(factor, updated_at_s), ex=self._ttl_s)

    def _read(self, service_id: str) -> float | None:
        with store_errors():
            document = self._client.get(self._factor_key(service_id))
        if document is None:
            return None
        try:
            return decode_factor(document)
        except UnreadableFactor:
            return None
