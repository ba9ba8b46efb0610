"""What every process that serves relays is made of, wired from its configuration."""

from __future__ import annotations

from relayer_web.backend_metrics import CountedBackends
from relayer_web.backends.configured import ConfiguredBackends
from relayer_web.config import RelayerConfig
from relayer_web.config_following import ConfigFollower
from relayer_web.metrics import RelayerMetrics
from relayer_web.outside import Outside, outside_of
from relayer_web.runtime import Runtime
from relayer_web.wiring import build_runtime


class Wired:
    """A runtime with its backends, and the configuration they follow; started before the first relay."""

    def __init__(
        self, config: RelayerConfig, runtime: Runtime, backends: ConfiguredBackends, outside: Outside
    ) -> None:
        self.config, self.runtime, self.backends, self.outside = config, runtime, backends, outside
        self._follower = ConfigFollower(config, self._follow)

    def start(self) -> None:
        self.runtime.start()
        self.backends.start()
        self._follower.start()

    def stop(self) -> None:
        self._follower.stop()
        self.backends.stop()
        self.runtime.stop()

    def _follow(self, config: RelayerConfig) -> None:
        """Go by a changed configuration. What is at the old backends ends there."""
        before = self.backends
        after = ConfiguredBackends(config, CountedBackends(config, self.runtime.metrics))
        after.start()
        self.runtime.reconfigure(config, after)
        self.config, self.backends = config, after
        before.stop()


def wired(config: RelayerConfig) -> Wired:
    """Wire one process, after its fork. Raises what `outside_of` and `build_runtime` raise."""
    metrics = RelayerMetrics(config.services)
    backends = ConfiguredBackends(config, CountedBackends(config, metrics))
    outside = outside_of(config)
    runtime = build_runtime(config, lambda _: backends, outside=outside, metrics=metrics)
    return Wired(config, runtime, backends, outside)
