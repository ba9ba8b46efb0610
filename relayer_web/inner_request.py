"""The request to a backend: the inner one, with what the outer one adds (spec/relayer.md §1.4)."""

from __future__ import annotations

from typing import Final

from pocket_protocol.envelope import canonical_header_name
from relayer_web.admission import Relay
from relayer_web.backends.contract import BackendRequest
from relayer_web.inbound import Inbound

FILL_IN_HEADERS: Final = ("content-type", "accept", "user-agent")


def backend_request(relay: Relay, inbound: Inbound, *, may_stream: bool = False) -> BackendRequest:
    """Return what the backend is sent for a relay that carries an HTTP request."""
    assert relay.inner is not None
    outer = inbound.headers
    return BackendRequest(
        method=relay.inner.method,
        url=relay.inner.url,
        headers=[(name, value) for name, values in relay.inner.headers for value in values],
        body=relay.inner.body,
        fill_in={canonical_header_name(name): outer[name] for name in FILL_IN_HEADERS if name in outer},
        overrides={
            canonical_header_name(name): value for name, value in outer.items() if name.startswith("pocket-")
        },
        identity={
            "Pocket-Supplier": relay.supplier,
            "Pocket-Service": relay.service_id,
            "Pocket-Application": relay.header.application_address,
        },
        may_stream=may_stream,
    )
