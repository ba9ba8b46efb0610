"""What every process that serves relays is made of, wired from its configuration."""

from __future__ import annotations

from dataclasses import dataclass

from relayer_web.backend_metrics import CountedBackends
from relayer_web.backends.configured import ConfiguredBackends
from relayer_web.config import RelayerConfig
from relayer_web.metrics import RelayerMetrics
from relayer_web.outside import Outside, outside_of
from relayer_web.runtime import Runtime
from relayer_web.wiring import build_runtime


@dataclass(frozen=True)
class Wired:
    """A runtime with its backends; both are started before the first relay and stopped after the last."""

    config: RelayerConfig
    runtime: Runtime
    backends: ConfiguredBackends
    outside: Outside

    def start(self) -> None:
        self.runtime.start()
        self.backends.start()

    def stop(self) -> None:
        self.backends.stop()
        self.runtime.stop()


def wired(config: RelayerConfig) -> Wired:
    """Wire one process, after its fork. Raises what `outside_of` and `build_runtime` raise."""
    metrics = RelayerMetrics(config.services)
    backends = ConfiguredBackends(config, CountedBackends(config, metrics))
    outside = outside_of(config)
    runtime = build_runtime(config, lambda _: backends, outside=outside, metrics=metrics)
    return Wired(config, runtime, backends, outside)
