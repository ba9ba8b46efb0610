"""The suppliers' keys as they come and go while relays flow (spec/relayer.md §6)."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

from pocket_protocol.signer import PrivateKey
from relayer_web.metrics import RelayerMetrics
from relayer_web.outside import Outside

LEAVING_KEY_S: Final = 60.0


class KeyWatch:
    """Says which keys are held. A removed one still signs, for a moment, what was accepted before."""

    def __init__(self, outside: Outside, metrics: RelayerMetrics) -> None:
        self._outside, self._metrics = outside, metrics
        self._seen: Mapping[Any, PrivateKey] = dict(outside.signing_keys())
        self._errors = outside.key_errors()
        self._leaving: dict[str, PrivateKey] = {}
        self._left_at = 0.0

    def has_any(self) -> bool:
        return bool(self._outside.signing_keys())

    def holds(self, supplier: str) -> bool:
        """Whether relays for `supplier` are accepted."""
        return supplier in self._outside.signing_keys()

    def signing_key(self, supplier: str) -> PrivateKey | None:
        """The key that signs an answer of `supplier`."""
        return self._outside.signing_keys().get(supplier) or self._leaving.get(supplier)

    def poll(self) -> None:
        """Look at the key sources again, and count what changed."""
        self._outside.poll_keys()
        before, now = self._seen, dict(self._outside.signing_keys())
        self._seen = now
        removed = {supplier: key for supplier, key in before.items() if supplier not in now}
        if removed or time.monotonic() - self._left_at > LEAVING_KEY_S:
            self._leaving, self._left_at = removed, time.monotonic()
        self._count(added=len(now.keys() - before.keys()), removed=len(removed), held=len(now))

    def _count(self, *, added: int, removed: int, held: int) -> None:
        metrics = self._metrics
        errors, self._errors = self._outside.key_errors() - self._errors, self._outside.key_errors()
        metrics.count("ha_keys_load_errors", by=errors)
        metrics.count("ha_keys_reloads", by=int(bool(added or removed)))
        for kind, number in (("removed", removed), ("added", added)):
            if number:
                metrics.count("ha_keys_changes", kind, by=number)
        metrics.set("ha_keys_supplier_keys_active", held)
