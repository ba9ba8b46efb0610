"""One process's worth of chain: the chain, its servers, and the clock that makes blocks."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from localnet.admin import Admin
from localnet.chain import LocalChain
from localnet.grpc_server import GrpcServer
from localnet.http_server import AddressTaken
from localnet.journal import Journal
from localnet.ledger import Ledger
from localnet.node_view import NodeView
from localnet.rpc_server import RpcServer


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a node listens, `host:port` each; port 0 takes a free one."""

    grpc: str = "127.0.0.1:0"
    rpc: str = "127.0.0.1:0"
    admin: str = "127.0.0.1:0"


class PortTaken(AddressTaken):
    """An address that cannot be listened on; `which` is the field of `Addresses`."""

    def __init__(self, which: str, error: OSError) -> None:
        self.which = which
        super().__init__(str(error))


class LocalNode:
    """A chain and its servers. It listens from the start and serves from `start` to `stop`; a context manager.

    With `block_time_s` 0 no block is made but by `chain.step`.
    """

    def __init__(
        self,
        chain: LocalChain,
        addresses: Addresses = Addresses(),
        *,
        block_time_s: float = 0.0,
        journal: Path | None = None,
    ) -> None:
        """Raises `PortTaken` for an address in use, OSError for a journal that cannot be written."""
        self.chain = chain
        self.view = NodeView(chain)
        self.ledger = Ledger(chain)
        self.journal = Journal(chain, journal)
        self.block_time_s = block_time_s
        self.paused = False
        self._stopping = self.view.stopping
        self._wake = threading.Event()
        self._started: list[Any] = []
        self.grpc = _listen("grpc", lambda: GrpcServer(addresses.grpc, self.view))
        self.rpc = _listen("rpc", lambda: RpcServer(addresses.rpc, self.view))
        self.admin = _listen("admin", lambda: Admin(addresses.admin, self))

    @property
    def grpc_address(self) -> str:
        return self.grpc.address

    @property
    def rpc_url(self) -> str:
        return f"http://{self.rpc.address}"

    @property
    def admin_url(self) -> str:
        return f"http://{self.admin.address}"

    def start(self) -> LocalNode:
        """Make the first block, serve, and make more blocks as time passes."""
        if self.chain.height == 0:
            self.chain.step()
        for server in (self.grpc, self.rpc, self.admin):
            server.start()
            self._started.append(server)
        threading.Thread(target=self._make_blocks, name="blocks", daemon=True).start()
        return self

    def stop(self) -> None:
        """End all servers and block making."""
        self._stopping.set()
        self._wake.set()
        for server in self._started:
            server.stop()
        self.journal.close()

    def __enter__(self) -> LocalNode:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def pause(self) -> None:
        """Make no more blocks until `resume`; `chain.step` still does."""
        self.paused = True

    def resume(self) -> None:
        self.paused = False

    def set_block_time(self, seconds: float) -> None:
        """Change the time between blocks; 0 makes none."""
        if seconds < 0:
            raise ValueError("block time below 0")
        self.block_time_s = seconds
        self._wake.set()

    def _make_blocks(self) -> None:
        due = time.monotonic()
        while not self._stopping.is_set():
            now = time.monotonic()
            due = max(due + self.block_time_s, now)  # a late block does not make the next ones early
            woken = self._wake.wait(due - now if self.block_time_s else None)
            self._wake.clear()
            if not woken and not self.paused and not self._stopping.is_set():
                self.chain.step()


def _listen(which: str, make: Any) -> Any:
    try:
        return make()
    except OSError as error:
        raise PortTaken(which, error) from error
