"""What views of metrics share: sections of rows, and columns made of one metric each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relay_cli.metrics.scrape import QUANTILES, Distribution, Scrape, values_of

MIB: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Section:
    """A titled table; `rows` may be empty: nothing of the kind has happened."""

    title: str
    rows: Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Reading:
    """All that has happened, and what has happened since the last look `seconds` ago (None at the first)."""

    whole: Scrape
    recent: Scrape | None = None
    seconds: float = 0.0

    @property
    def latest(self) -> Scrape:
        """What distributions are taken from: the time since the last look, else everything."""
        return self.recent or self.whole

    def number(self, name: str) -> int | str:
        """Return a gauge without labels as a whole number, "" when it was never set."""
        value = self.whole.gauge(name)
        return "" if value is None else int(value)

    def counts(
        self, columns: Mapping[str, str | Sequence[str]], *labels: str, rate_of: str = ""
    ) -> list[dict[str, Any]]:
        """Return rows by `labels`: a column is a counter's or gauge's name, or several that are added.

        While looking again and again, `rate_of` (one of the columns) is also shown per second.
        """
        names = {
            column: (name,) if isinstance(name, str) else tuple(name) for column, name in columns.items()
        }
        sums = {column: _added(self.whole, every, labels) for column, every in names.items()}
        recent = _added(self.recent, names[rate_of], labels) if self.recent and rate_of else None
        rows = []
        for of in values_of(sums.values()):
            row: dict[str, Any] = dict(zip(labels, of, strict=True))
            row |= {column: round(values.get(of, 0)) for column, values in sums.items()}
            if recent is not None:
                row["per_s"] = round(recent.get(of, 0.0) / self.seconds, 1) if self.seconds else 0.0
            rows.append(row)
        return rows

    def spread(
        self, names: Mapping[str, str], *labels: str, scale: float = 1.0, whole: bool = False
    ) -> list[dict[str, Any]]:
        """Return rows by label and histogram: count, mean and quantiles, multiplied by `scale`.

        `names` are the histograms by what a column `what` calls them. `whole`: of whole numbers.
        """
        return [
            {
                **dict(zip(labels, of, strict=True)),
                **({"what": what} if len(names) > 1 else {}),
                **_figures(found, scale, whole),
            }
            for what, name in names.items()
            for of, found in sorted(self.latest.distributions(name, *labels).items())
            if found.count
        ]

    def memory(self, prefix: str) -> str:
        """Return how full the store is, by the gauges that begin with `prefix`."""
        used, limit = (self.whole.gauge(f"{prefix}_redis_{kind}_memory_bytes") for kind in ("used", "max"))
        if used is None:
            return ""
        of = f" of {limit / MIB:.0f} MiB ({used / limit:.0%})" if limit else ", no limit"
        return f"{used / MIB:.1f} MiB{of}"


def processes(reading: Reading) -> Section:
    """Return what the processes behind an endpoint use; while looking again and again also how busy each is."""
    cpu = reading.whole.by("process_cpu_seconds_total", "pid")
    memory = reading.whole.by("process_resident_memory_bytes", "pid")
    files = reading.whole.by("process_open_fds", "pid")
    recent = reading.recent.by("process_cpu_seconds_total", "pid") if reading.recent else {}
    rows = []
    for of in sorted(cpu, key=lambda found: (len(found[0]), found)):
        row: dict[str, Any] = {
            "pid": of[0],
            "cpu_s": round(cpu[of], 1),
            "memory_mib": round(memory.get(of, 0) / MIB, 1),
            "open_files": round(files.get(of, 0)),
        }
        if recent and reading.seconds:
            row["busy"] = f"{recent.get(of, 0.0) / reading.seconds:.0%}"
        rows.append(row)
    return Section("Processes", rows)


def _added(scrape: Scrape, names: Sequence[str], labels: Sequence[str]) -> dict[tuple[str, ...], float]:
    sums: dict[tuple[str, ...], float] = {}
    for name in names:
        for of, value in scrape.by(name, *labels).items():
            sums[of] = sums.get(of, 0.0) + value
    return sums


def _figures(found: Distribution, scale: float, whole: bool) -> dict[str, Any]:
    quantiles = {
        f"p{share * 100:.0f}": round(found.quantile(share, whole=whole) * scale, 1) for share in QUANTILES
    }
    return {"count": round(found.count), "mean": round(found.mean * scale, 1), **quantiles}
