"""The chain's answers, counted and timed (spec/relayer.md §7.2)."""

from __future__ import annotations

from time import perf_counter
from typing import Any

from pocket_chain.facts import ChainReads
from pocket_protocol.errors import PocketError
from relayer_web.metrics import RelayerMetrics


class CountedChain:
    """Answers what `chain` answers; query types are the names of its methods."""

    def __init__(self, chain: ChainReads, metrics: RelayerMetrics) -> None:
        self._chain = chain
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        ask = getattr(self._chain, name)

        def counted(*question: Any) -> Any:
            started = perf_counter()
            self._metrics.count("ha_cache_chain_queries", name)
            try:
                return ask(*question)
            except PocketError:
                self._metrics.count("ha_cache_chain_query_errors", name)
                raise
            finally:
                took_s = perf_counter() - started
                self._metrics.observe("ha_cache_chain_query_latency_seconds", took_s, name)

        return counted

    def difficulty_at(self, service_id: str, height: int) -> bytes:
        """The target, whose leading zero bits are shown: each doubles the relays served for one mined."""
        target: bytes = self.__getattr__("difficulty_at")(service_id, height)
        zero_bits = 8 * len(target) - int.from_bytes(target, "big").bit_length()
        self._metrics.set(
            "ha_query_relay_mining_difficulty_target_bits", zero_bits, self._metrics.service(service_id)
        )
        return target
