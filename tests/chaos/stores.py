"""The stores of a run: one, three under Sentinels, a Cluster with a broker beside it, or one and three for the locks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from relay_cli.supervisor.probes import accepts, pongs
from relay_cli.supervisor.spec import ProcessSpec
from relay_cli.up.files import store_settings
from relay_cli.up.layout import Layout
from relay_cli.up.ports import HOST, Ports
from relay_cli.up.store_server import store_executable
from relay_store.connection import connect
from tests.integration.stage import wait_until

MASTER = "main"
SLOTS = 16384
SENTINEL_DOWN_MS = 1000
STORES: Mapping[str, tuple[str, ...]] = {
    "standard": ("store",),
    "sentinel": ("store-1", "store-2", "store-3"),
    "cluster": ("store-1", "store-2", "store-3", "broker"),
    "redlock": ("store", "lock-1", "lock-2", "lock-3"),
}
SENTINELS = ("sentinel-1", "sentinel-2", "sentinel-3")


def store_roles(scenario: str) -> tuple[str, ...]:
    """The ports the stores of a scenario need, beside those of `up`."""
    names = STORES[scenario]
    bus = tuple(f"{name}-bus" for name in names) if scenario == "cluster" else ()
    return (*names, *bus, *(SENTINELS if scenario == "sentinel" else ()))


@dataclass(frozen=True)
class Stores:
    """The stores of one run, and where its parts find them."""

    scenario: str
    layout: Layout
    names: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", STORES[self.scenario])

    @property
    def ports(self) -> Ports:
        return self.layout.ports

    @property
    def direct_url(self) -> str:
        """The data, around the proxy."""
        if self.scenario == "sentinel":
            hosts = ",".join(self.ports.address(name) for name in SENTINELS)
            return f"redis-sentinel://{hosts}/{MASTER}"
        if self.scenario == "cluster":
            return "redis-cluster://" + ",".join(self.ports.address(name) for name in self.names[:3])
        return f"redis://{self.ports.address('store')}/0"

    @property
    def data_url(self) -> str:
        """The data, as the product reaches it: clients of several stores find them by themselves."""
        if self.scenario in ("sentinel", "cluster"):
            return self.direct_url
        return f"redis://{self.ports.address('data')}/0"

    @property
    def broker_url(self) -> str:
        """Celery's broker; "" is the data store's next database."""
        if self.scenario == "sentinel":
            return ""
        if self.scenario == "cluster":
            return f"redis://{self.ports.address('broker')}/0"
        return f"redis://{self.ports.address('broker-proxy')}/1"

    @property
    def lock_urls(self) -> list[str]:
        return [f"redis://{self.ports.address(name)}/0" for name in self.names if name.startswith("lock")]

    def specs(self) -> list[ProcessSpec]:
        """Write the stores' files and return their processes."""
        specs = [self._server(name, self._settings(name)) for name in self.names]
        if self.scenario == "sentinel":
            specs += [self._sentinel(name) for name in SENTINELS]
        return specs

    def _settings(self, name: str) -> dict[str, str]:
        if self.scenario == "cluster" and name != "broker":
            return {
                "cluster-enabled": "yes",
                "cluster-port": str(self.ports.numbers[f"{name}-bus"]),
                "cluster-node-timeout": "5000",
                "cluster-require-full-coverage": "no",
            }
        if self.scenario == "sentinel":
            settings = {
                "min-replicas-to-write": "1",
                "min-replicas-max-lag": "5",
                "repl-diskless-sync-delay": "0",
            }
            if name != "store-1":
                settings["replicaof"] = f"{HOST} {self.ports.numbers['store-1']}"
            return settings
        return {}

    def _server(self, name: str, settings: Mapping[str, str]) -> ProcessSpec:
        directory = self.layout.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "valkey.conf"
        base = store_settings(self.layout).replace(
            f"port {self.ports.numbers['store']}\n", f"port {self.ports.numbers[name]}\n"
        )
        base = base.replace(str(self.layout.store_directory), str(directory))
        path.write_text(base + "".join(f"{key} {value}\n" for key, value in settings.items()))
        return ProcessSpec(
            name,
            (str(store_executable()), str(path)),
            0,
            pongs(self.ports.address(name)),
            directory=directory,
        )

    def _sentinel(self, name: str) -> ProcessSpec:
        directory = self.layout.directory / name
        directory.mkdir(parents=True, exist_ok=True)
        path = directory / "sentinel.conf"
        path.write_text(
            f'port {self.ports.numbers[name]}\nbind {HOST}\ndir "{directory}"\n'
            f"sentinel monitor {MASTER} {HOST} {self.ports.numbers['store-1']} 2\n"
            f"sentinel down-after-milliseconds {MASTER} {SENTINEL_DOWN_MS}\n"
            f"sentinel failover-timeout {MASTER} 3000\n"
        )
        command = (str(store_executable()), str(path), "--sentinel")
        return ProcessSpec(name, command, 1, accepts(self.ports.address(name)), directory=directory)

    def unite(self) -> None:
        """After the servers have started: make a Cluster of them, or wait until the Sentinels know each other."""
        if self.scenario == "cluster":
            self._unite_cluster(self.names[:3])
        if self.scenario == "sentinel":
            wait_until(self._sentinels_agree, "the Sentinels to see each other and two replicas")

    def _unite_cluster(self, names: Sequence[str]) -> None:
        masters = [connect(f"redis://{self.ports.address(name)}").client for name in names]
        bounds = [SLOTS * number // len(masters) for number in range(len(masters) + 1)]
        for master, first, after in zip(masters, bounds, bounds[1:], strict=False):
            master.execute_command("CLUSTER ADDSLOTSRANGE", first, after - 1)
        for name in names[1:]:
            numbers = self.ports.numbers
            masters[0].execute_command("CLUSTER MEET", HOST, numbers[name], numbers[f"{name}-bus"])
        for master in masters:
            wait_until(
                lambda master=master: (
                    (found := master.execute_command("CLUSTER INFO"))["cluster_state"] == "ok"
                    and found["cluster_known_nodes"] == str(len(names))
                ),
                "the Cluster",
            )
            master.close()

    def _sentinels_agree(self) -> bool:
        for name in SENTINELS:
            with connect(f"redis://{self.ports.address(name)}").client as sentinel:
                state = sentinel.sentinel_masters()[MASTER]
                if state["num-slaves"] < 2 or state["num-other-sentinels"] < 2:
                    return False
        return True

    def master_name(self) -> str:
        """Which store is the master now. Raises `LookupError` when the Sentinels do not say."""
        for name in SENTINELS:
            try:
                with connect(f"redis://{self.ports.address(name)}", timeout_s=1).client as sentinel:
                    address = sentinel.execute_command("SENTINEL GET-MASTER-ADDR-BY-NAME", MASTER)
            except Exception:  # this one may just have been killed
                continue
            if address:
                port = int(address[1])
                return next(one for one in self.names if self.ports.numbers[one] == port)
        raise LookupError("no Sentinel names a master")
