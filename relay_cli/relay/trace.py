"""How far one relay came, whatever was to be its answer: what diagnoses have in common."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from pocket_protocol.errors import PocketError
from relay_cli.relay.relay_session import RelaySession


@dataclass(slots=True)
class RelayTrace:
    """The session, the supplier and the failure of one relay, as far as there are any."""

    application: str
    service_id: str
    session: RelaySession | None = None
    supplier: str = ""
    failure: PocketError | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.failure is None

    @property
    def status(self) -> str:
        return "✅ SUCCESS" if self.ok else "❌ FAILED"

    def head(self) -> dict[str, Any]:
        """Return the fields every JSON document begins with."""
        return {
            "success": self.ok,
            "application": self.application,
            "service_id": self.service_id,
            "session_id": self.session.header.session_id if self.session else None,
            "supplier": self.supplier or None,
            "error": str(self.failure) if self.failure else None,
            "reason": self.failure.reason if self.failure else None,
        }

    def head_lines(self, title: str) -> list[str]:
        """Return the lines every report begins with."""
        lines = ["", f"=== {title} ===", f"App Address: {self.application}", f"Service ID: {self.service_id}"]
        lines += [f"Session ID: {self.session.header.session_id}"] if self.session else []
        lines += [f"Supplier: {self.supplier}"] if self.supplier else []
        return lines
