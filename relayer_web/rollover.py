"""The next session's facts are asked for when it begins, not when its first relay comes (spec/relayer.md §5.5).

At a session's first block every gateway changes over at once. Without this the first relay of each application would
wait for half a dozen questions to the node, in every process. Who was served in the session before is asked for; the
processes of a deployment begin a little apart, so that most find the answers in the store.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import structlog

from pocket_chain.facts import ChainFacts, SessionKey
from pocket_protocol.errors import PocketError
from pocket_protocol.session import session_end, session_start

LOOK_S: Final = 1.0
SPREAD_S: Final = 0.2

log = structlog.get_logger("relayer")


class Rollover:
    """Follows `height()` in a thread of its own; `sessions()` are the keys of those this process knows."""

    def __init__(
        self, facts: ChainFacts, height: Callable[[], int], sessions: Callable[[], list[SessionKey]]
    ) -> None:
        self._facts = facts
        self._height = height
        self._sessions = sessions
        self._begun = 0  # the first block of the session that was last looked at
        self._wake = threading.Event()
        self._stopping = threading.Event()

    def start(self) -> None:
        threading.Thread(target=self._run, name="rollover", daemon=True).start()

    def stop(self) -> None:
        self._stopping.set()
        self._wake.set()

    def look(self) -> None:
        """There is a block. Does not wait."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            self._wake.wait(LOOK_S)
            self._wake.clear()
            try:
                self.step(self._height(), random.uniform(0.0, SPREAD_S))
            except Exception as error:  # the thread lives as long as its process
                log.error("session not prepared", exc_info=error)

    def step(self, height: int, spread_s: float = 0.0) -> None:
        """Prepare the session that `height` is in, `spread_s` from now, if it is a new one."""
        with suppress(PocketError):
            params = self._facts.shared_params.get(None)
            begins = session_start(params, height)
            if begins <= self._begun:
                return
            is_first, self._begun = self._begun == 0, begins
            if not is_first and not self._stopping.wait(spread_s):
                self._prepare(begins, session_end(params, begins))

    def _prepare(self, begins: int, ends: int) -> None:
        served = self._served_before(begins)
        for service in sorted({service for _, service in served}):
            with suppress(PocketError):
                self._facts.price_params(begins)
                self._facts.compute_units(service, begins)
                self._facts.difficulty_target(service, begins)
        prepared = 0
        for application, service in served:
            with suppress(PocketError):
                self._facts.sessions.get((application, service, begins))
                self._facts.ring_keys(application, ends)
                prepared += 1
        log.debug("session prepared", start_height=begins, served_before=len(served), prepared=prepared)

    def _served_before(self, begins: int) -> list[tuple[str, str]]:
        """Applications and services of the session that has just ended."""
        served = set()
        for key in self._sessions():
            known = self._facts.sessions.peek(key)
            if known is not None and known.header.session_end_block_height == begins - 1:
                served.add(key[:2])
        return sorted(served)
