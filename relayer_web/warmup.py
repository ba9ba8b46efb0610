"""Facts asked for before the first relay needs them (spec/relayer.md §5.5): never fatal, never waited for.

The applications are those of the configuration and those relayers have served lately, which they note in a set of the
store. For each: its record, its account and its gateways' accounts; and once, the parameters every relay is judged by.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog

from pocket_chain.facts import ChainFacts
from pocket_protocol.errors import PocketError

OVERALL_S: Final = 30.0

log = structlog.get_logger("relayer")


@dataclass
class WarmUp:
    """Warms `facts` in threads of its own. Each application's questions have the node's own time-outs."""

    facts: ChainFacts
    concurrency: int
    slow_s: float
    overall_s: float = OVERALL_S
    monotonic: Callable[[], float] = time.monotonic
    warmed: list[str] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)

    def run(self, applications: Collection[str]) -> None:
        """Warm up for `applications` until done, or until `overall_s` is over."""
        deadline = self.monotonic() + self.overall_s
        waiting = deque(dict.fromkeys(applications))
        for parameters in (self.facts.shared_params, self.facts.session_params):
            with suppress(PocketError):
                parameters.get(None)

        def work() -> None:
            while waiting and self.monotonic() < deadline:
                try:
                    self._warm(waiting.popleft())
                except IndexError:
                    return

        threads = [
            threading.Thread(target=work, name=f"warm-up-{number}", daemon=True)
            for number in range(min(self.concurrency, len(waiting)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(max(0.0, deadline - self.monotonic()))
        left = len(waiting)
        log.info("caches warmed", applications=len(self.warmed), failed=len(self.failed), not_reached=left)

    def _warm(self, address: str) -> None:
        started = self.monotonic()
        try:
            application = self.facts.applications.get(address)
            for account in (address, *application.delegatee_gateway_addresses):
                self.facts.accounts.get(account)
        except PocketError as error:
            self.failed.append(address)
            log.warning("cache not warmed", application=address, reason=error.reason)
            return
        took_s = self.monotonic() - started
        if took_s > self.slow_s:
            log.warning("cache warmed slowly", application=address, seconds=round(took_s, 1))
        self.warmed.append(address)
