"""Several relayers of one deployment: the one of `up` and more like it, replaced one after the other."""

from __future__ import annotations

import os
import signal
from typing import Any

from relay_cli.serve.relayer_process import GUNICORN
from relay_cli.supervisor.probes import http_ok
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.up.layout import Layout
from relay_cli.up.ports import HOST
from relayer_web.config import CONFIG_VARIABLE
from tests.integration.stage import Deployment, edit_yaml, wait_until

READY_S = 60.0


class Relayers:
    """`count` of them: `roles` and `specs` are for `deployment`."""

    def __init__(self, count: int) -> None:
        self._more = [f"relayer-{number}" for number in range(2, count + 1)]
        self.names = ["relayer", *self._more]
        self.roles = [role for name in self._more for role in (name, f"{name}-health")]

    def specs(self, layout: Layout) -> list[ProcessSpec]:
        """The processes beside that of `up`."""
        return [self._spec(layout, name) for name in self._more]

    def addresses(self, running: Deployment) -> list[tuple[str, int]]:
        return [(HOST, running.layout.ports.numbers[name]) for name in self.names]

    def replace(self, running: Deployment, name: str) -> None:
        """Have a relayer end as it likes to; return when another is ready in its place."""
        child, old = running.supervisor.child(name), running.process_id(name)
        os.kill(old, signal.SIGTERM)
        wait_until(
            lambda: child.process_id not in (None, old) and child.was_ready, f"another {name}", READY_S
        )

    @staticmethod
    def _spec(layout: Layout, name: str) -> ProcessSpec:
        path, ports = layout.directory / f"{name}.yaml", layout.ports

        def elsewhere(settings: dict[str, Any]) -> None:
            settings["listen_addr"] = ports.address(name)
            settings["health_check"]["addr"] = ports.address(f"{name}-health")
            settings["metrics"]["enabled"] = False
            settings["extensions"]["state_dir"] = str(layout.state_directory / name)

        path.write_text(layout.relayer_config.read_text())
        edit_yaml(path, elsewhere)
        ready = http_ok(f"{ports.url(f'{name}-health')}/ready")
        return ProcessSpec(name, GUNICORN, 3, ready, {CONFIG_VARIABLE: str(path)})
