"""What the deployment has met: sets of applications and services whose caches are worth keeping warm and fresh.

Names and types are the reference's (`ha:cache:known:<kind>`, spec/miner.md §5.3), which reads and adds to them as well.
A store that is away costs nothing but warmth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from contextlib import suppress
from typing import Final

from pocket_protocol.errors import PocketError
from relay_store.connection import Store
from relay_store.keys import Keys
from relay_store.store_errors import store_errors

APPLICATIONS: Final = "applications"
SERVICES: Final = "services"
REMEMBERED_S: Final = 7 * 86_400
RENEWED_S: Final = 3600.0  # the set's life is renewed, and what another has dropped is added again
MOST_READ: Final = 1000


class KnownEntities:
    """One set, shared by all processes. `kind` is APPLICATIONS or SERVICES."""

    def __init__(
        self, store: Store, keys: Keys, kind: str, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._client = store.client
        self._key = keys.known(kind)
        self._monotonic = monotonic
        self._noted: dict[str, float] = {}

    def read(self) -> list[str]:
        """The members, in no order; of very many some."""
        with suppress(PocketError), store_errors():
            found: Iterable[bytes] = self._client.srandmember(self._key, MOST_READ)
            return [member.decode("utf-8", "replace") for member in found]
        return []

    def note(self, names: Collection[str]) -> None:
        """Add entities the chain has confirmed. Most calls do nothing: a name is written once an hour."""
        now = self._monotonic()
        due = [name for name in names if now - self._noted.get(name, -RENEWED_S) >= RENEWED_S]
        if not due:
            return
        with suppress(PocketError), store_errors():
            self._client.sadd(self._key, *due)
            self._client.expire(self._key, REMEMBERED_S)
            if len(self._noted) > MOST_READ:
                self._noted = {name: at for name, at in self._noted.items() if now - at < RENEWED_S}
            self._noted.update(dict.fromkeys(due, now))

    def forget(self, name: str) -> None:
        """Drop an entity that is no more."""
        with suppress(PocketError), store_errors():
            self._client.srem(self._key, name)
