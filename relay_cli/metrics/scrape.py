"""One reading of a metrics endpoint, and what can be asked of it."""

from __future__ import annotations

import math
import urllib.request
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final
from urllib.error import URLError
from urllib.parse import urlsplit

from prometheus_client.parser import text_string_to_metric_families

from pocket_protocol.errors import Unavailable

TIMEOUT_S: Final = 10.0
QUANTILES: Final = (0.5, 0.9, 0.99)
_DIRECT: Final = urllib.request.build_opener(urllib.request.ProxyHandler({}))

Labels = tuple[tuple[str, str], ...]


class MetricsUnavailable(Unavailable):
    """An endpoint that does not answer, or not with metrics."""

    reason = "metrics_unavailable"
    summary = "metrics cannot be read"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's observations: how many, their sum, and how many up to each bound."""

    count: float
    total: float
    buckets: tuple[tuple[float, float], ...]  # (upper bound, observations up to it), rising

    @property
    def mean(self) -> float:
        return self.total / self.count if self.count else 0.0

    def quantile(self, share: float, *, whole: bool = False) -> float:
        """Return the value `share` (0..1) of the observations are not above, by even spread within a bucket.

        `whole`: observations are whole numbers, so the bucket's bound is taken as it is. Of observations beyond the
        last bound it says the last bound.
        """
        rank, below, lower = share * self.count, 0.0, 0.0
        for bound, up_to in self.buckets:
            if up_to >= rank and up_to > below:
                if math.isinf(bound):
                    return lower
                if whole:
                    return bound
                return lower + (bound - lower) * (rank - below) / (up_to - below)
            below, lower = up_to, bound if not math.isinf(bound) else lower
        return lower


class Scrape:
    """The samples of an endpoint, by their names as they are scraped."""

    def __init__(self, samples: Mapping[str, Mapping[Labels, float]]) -> None:
        self._samples = samples

    @classmethod
    def of(cls, text: str) -> Scrape:
        """Read Prometheus' text format. Raises ValueError."""
        samples: dict[str, dict[Labels, float]] = defaultdict(dict)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                samples[sample.name][tuple(sorted(sample.labels.items()))] = float(sample.value)
        return cls(dict(samples))

    def since(self, earlier: Scrape) -> Scrape:
        """Return how much each sample has grown; one that fell began anew, and counts whole."""
        return Scrape(
            {
                name: {
                    labels: value - before if value >= (before := earlier._value(name, labels)) else value
                    for labels, value in values.items()
                }
                for name, values in self._samples.items()
            }
        )

    def _value(self, name: str, labels: Labels) -> float:
        return self._samples.get(name, {}).get(labels, 0.0)

    def has(self, beginning: str) -> bool:
        """Return whether any metric's name begins so."""
        return any(name.startswith(beginning) for name in self._samples)

    def gauge(self, name: str) -> float | None:
        """Return the value of a metric without labels, None when it was never set."""
        return self._samples.get(name, {}).get(())

    def by(self, name: str, *labels: str) -> dict[tuple[str, ...], float]:
        """Return a metric's sums by these labels."""
        sums: dict[tuple[str, ...], float] = defaultdict(float)
        for found, value in self._samples.get(name, {}).items():
            of = dict(found)
            sums[tuple(of.get(label, "") for label in labels)] += value
        return dict(sums)

    def distributions(self, name: str, *labels: str) -> dict[tuple[str, ...], Distribution]:
        """Return a histogram by these labels."""
        counts, totals = self.by(f"{name}_count", *labels), self.by(f"{name}_sum", *labels)
        buckets: dict[tuple[str, ...], list[tuple[float, float]]] = defaultdict(list)
        for (*of, bound), value in self.by(f"{name}_bucket", *labels, "le").items():
            buckets[tuple(of)].append((float(bound), value))
        return {
            of: Distribution(count, totals.get(of, 0.0), tuple(sorted(buckets[of])))
            for of, count in counts.items()
        }


def values_of(column: Iterable[Mapping[tuple[str, ...], float]]) -> list[tuple[str, ...]]:
    """Return the label values that appear in any of some sums, sorted."""
    return sorted({of for sums in column for of in sums})


def metrics_url(text: str) -> str:
    """Return the URL of an endpoint written as a URL or host:port, with /metrics where no path is given."""
    url = text if "://" in text else f"http://{text}"
    return url if urlsplit(url).path.strip("/") else url.rstrip("/") + "/metrics"


def read_metrics(url: str) -> Scrape:
    """Read an endpoint. Raises `MetricsUnavailable`."""
    try:
        with _DIRECT.open(url, timeout=TIMEOUT_S) as answer:
            text = answer.read().decode()
        return Scrape.of(text)
    except URLError as error:
        raise MetricsUnavailable(url=url, cause=str(error.reason)) from error
    except (OSError, ValueError) as error:
        raise MetricsUnavailable(url=url, cause=str(error)[:200]) from error
