"""The backend's server. Other transports join here: each listens on its own address and shares the counters."""

from __future__ import annotations

from localnet.backend.behaviour import Settings
from localnet.backend.routes import Backend
from localnet.http_server import HttpServer


class BackendServer:
    """A backend that listens from the start and serves from `start` to `stop`; a context manager."""

    def __init__(self, address: str = "127.0.0.1:0", settings: Settings = Settings()) -> None:
        """Raises `http_server.AddressTaken`, ValueError for an address that is none."""
        self.backend = Backend(settings)
        self._http = HttpServer(address, self.backend.handle, "backend")

    @property
    def url(self) -> str:
        return f"http://{self._http.address}"

    def start(self) -> BackendServer:
        self._http.start()
        return self

    def stop(self) -> None:
        self._http.stop()

    def __enter__(self) -> BackendServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()
