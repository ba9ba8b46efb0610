"""docs/metrics.md: every metric, from the tables that make them."""

from __future__ import annotations

from collections.abc import Iterable

from mining_tasks.metrics import described as miner_metrics
from relay_cli.pages.markdown import code, table
from relayer_web.metrics import described as relayer_metrics

TEXT = """# Metrics

Written from the code by `python -m relay_cli.pages`.

Relayer and miner each serve Prometheus' text format at `metrics.addr` + `/metrics`, from a process of its own that adds
up what all their processes wrote. Names are those of the reference where the thing exists in both. What the relayer
shows is up to a second old. Histograms have `_bucket`, `_sum` and `_count`. Labels cannot grow with what senders write: a
service that is not configured is `unknown`, a transport nobody knows `other`. What to alert on: [operations](operations.md).
"""


def page() -> str:
    """The whole page."""
    return (
        f"{TEXT}\n## Relayer\n\n{_table(relayer_metrics())}"
        f"\n## Miner\n\n`ha_cache_hits_total` and `ha_cache_misses_total` exist in both.\n\n{_table(miner_metrics())}"
    )


def _table(metrics: Iterable[tuple[str, str, tuple[str, ...], str]]) -> str:
    rows = [
        (code(name), kind, ", ".join(code(label) for label in labels), meaning)
        for name, kind, labels, meaning in metrics
    ]
    return table(("name", "type", "labels", "meaning"), rows)
