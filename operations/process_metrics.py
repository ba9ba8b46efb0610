"""What the operating system says of the processes behind a metrics endpoint: `process_*`, by process id.

The client library gives these for its own process only; here the numbers of many come from files. Whose they are, their
files' names say. A process that has ended has no numbers any more; one that was given its id later is not mistaken for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.process_collector import ProcessCollector

START: Final = "process_start_time_seconds"
CLOCK_S: Final = 2.0  # by so much a file may seem older than the process that made it


def processes_in(directory: Path) -> dict[int, float]:
    """Return when the metric files of each process were last written (unix seconds), by process id."""
    written: dict[int, float] = {}
    for file in directory.glob("*.db"):
        number = file.stem.rpartition("_")[2]
        if number.isdigit():
            try:
                written[int(number)] = max(written.get(int(number), 0.0), file.stat().st_mtime)
            except OSError:
                continue  # just removed
    return written


class ProcessesCollector:
    """Collects for every live process that has metric files in `directory`."""

    def __init__(self, directory: str | Path) -> None:
        self._directory = Path(directory)

    def collect(self) -> Iterator[Metric]:
        families: dict[str, Metric] = {}
        for process_id, written_s in sorted(processes_in(self._directory).items()):
            samples = {metric.name: metric for metric in _of_process(process_id)}
            start = samples.get(START)
            if start is None or start.samples[0].value > written_s + CLOCK_S:
                continue
            for name, metric in samples.items():
                kind = CounterMetricFamily if metric.type == "counter" else GaugeMetricFamily
                family = families.setdefault(name, kind(name, metric.documentation, labels=["pid"]))
                family.add_metric([str(process_id)], metric.samples[0].value)  # type: ignore[attr-defined]
        yield from families.values()


def _of_process(process_id: int) -> Iterable[Metric]:
    return ProcessCollector(pid=lambda: process_id, registry=None).collect()
