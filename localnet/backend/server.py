"""The backend's servers: HTTP, and gRPC where an address for it is given. They share the counters."""

from __future__ import annotations

from localnet.backend.behaviour import Settings
from localnet.backend.demo_service import DemoServer
from localnet.backend.routes import Backend
from localnet.http_server import HttpServer


class BackendServer:
    """A backend that listens from the start and serves from `start` to `stop`; a context manager."""

    def __init__(
        self, address: str = "127.0.0.1:0", settings: Settings = Settings(), grpc_address: str = ""
    ) -> None:
        """Raises `http_server.AddressTaken`, ValueError for an address that is none."""
        self.backend = Backend(settings)
        self._http = HttpServer(address, self.backend.handle, "backend")
        self._grpc = DemoServer(grpc_address, self.backend.counters) if grpc_address else None

    @property
    def url(self) -> str:
        return f"http://{self._http.address}"

    @property
    def grpc_address(self) -> str:
        """Where gRPC is listened for, "" for nowhere."""
        return self._grpc.address if self._grpc else ""

    def start(self) -> BackendServer:
        self._http.start()
        if self._grpc:
            self._grpc.start()
        return self

    def stop(self) -> None:
        if self._grpc:
            self._grpc.stop()
        self._http.stop()

    def __enter__(self) -> BackendServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
