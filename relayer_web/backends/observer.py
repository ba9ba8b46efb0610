"""What happens in the backends that an operator may want to count or read. All methods do nothing here."""

from __future__ import annotations


class BackendObserver:
    """Hooks called on the relay path: an implementation must be quick and must not raise."""

    def endpoint_changed(
        self, service_id: str, transport: str, endpoint: str, healthy: bool, cause: str
    ) -> None:
        """An endpoint's breaker opened or closed."""

    def probed(self, service_id: str, transport: str, endpoint: str, good: bool) -> None:
        """A health probe ended."""

    def in_flight(self, service_id: str, change: int) -> None:
        """A request to a backend began (+1) or ended (-1)."""

    def waited(self, service_id: str, seconds: float) -> None:
        """A request had to wait for a connection because all were in use."""

    def dialled(self, service_id: str, seconds: float) -> None:
        """A new connection was made, TLS included."""

    def connected(self, service_id: str, reused: bool) -> None:
        """A request got its connection."""
