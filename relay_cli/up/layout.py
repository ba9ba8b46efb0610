"""What one `up` runs, and where its files are; everything else follows from this value."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from relay_cli.run_directory import Run
from relay_cli.up.ports import Ports

SERVICES = (("develop-http", 1000), ("develop-rest", 10))  # service id, compute units per relay
PROOF_THRESHOLD_UPOKT = 1_000_000


@dataclass(frozen=True, slots=True)
class Layout:
    """One local network. `directory` is absolute; `block_time_s` is the chain's."""

    directory: Path
    ports: Ports
    suppliers: int = 2
    front_end_workers: int = 2
    mining_processes: int = 2
    block_time_s: float = 1.0
    blocks_per_session: int = 10
    chain_id: str = "pocket"

    @property
    def relayer_config(self) -> Path:
        return self.directory / "relayer.yaml"

    @property
    def miner_config(self) -> Path:
        return self.directory / "miner.yaml"

    @property
    def genesis(self) -> Path:
        return self.directory / "genesis.yaml"

    @property
    def supplier_keys(self) -> Path:
        return self.directory / "supplier-keys.yaml"

    @property
    def client_keys(self) -> Path:
        return self.directory / "client-keys.yaml"

    @property
    def store_directory(self) -> Path:
        return self.directory / "store"

    @property
    def state_directory(self) -> Path:
        """Metric files and the like, of each role."""
        return self.directory / "state"

    @property
    def logs(self) -> Path:
        return self.directory / "logs"

    @property
    def store_url(self) -> str:
        return f"redis://{self.ports.address('store')}/0"

    @property
    def broker_url(self) -> str:
        """The same server, another database: no flush of one touches the other."""
        return f"redis://{self.ports.address('store')}/1"

    def run(self) -> Run:
        """Return what others need to find this network."""
        ports = self.ports
        return Run(
            grpc_address=ports.address("grpc"),
            rpc_url=ports.url("rpc"),
            admin_url=ports.url("admin"),
            relayer_url=ports.url("relayer"),
            relayer_health_url=ports.url("health"),
            relayer_metrics_url=f"{ports.url('relayer-metrics')}/metrics",
            miner_metrics_url=f"{ports.url('miner-metrics')}/metrics",
            flower_url=ports.url("flower"),
            backend_url=ports.url("backend"),
            store_url=self.store_url,
            broker_url=self.broker_url,
            chain_id=self.chain_id,
            relayer_config=str(self.relayer_config),
            miner_config=str(self.miner_config),
            client_keys=str(self.client_keys),
        )
