"""What a supervised process is: how it is started, when it counts as ready, how it ends."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pocket_protocol.errors import Refused, Unavailable


class PortTaken(Refused):
    """Something else listens where a process of ours has to."""

    reason = "port_taken"
    summary = "a port is taken"


class StartFailed(Unavailable):
    """A process ended, or was not ready in time, while all were being started; the text holds its last lines."""

    reason = "start_failed"
    summary = "a process did not start"


class RunEnded(Unavailable):
    """A process that cannot be started again has ended; the text holds its last lines."""

    reason = "run_ended"
    summary = "a process ended that all others need"


@dataclass(frozen=True, slots=True)
class Port:
    """An address that must be free, and the setting that moves it (`--relayer-port`)."""

    address: str
    setting: str


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One process. `ready` is asked again and again and must not wait long; it never raises.

    `environment` is added to the supervisor's. Processes of a lower `stage` are ready before the next stage
    starts and are stopped after it.
    """

    name: str
    command: tuple[str, ...]
    stage: int
    ready: Callable[[], bool]
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    ports: tuple[Port, ...] = ()
    directory: Path | None = None
    restarts: bool = True  # False: when it ends, the run is over
    start_timeout_s: float = 30.0
    stop_timeout_s: float = 15.0
