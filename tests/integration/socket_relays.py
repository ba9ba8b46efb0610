"""Relays over WebSocket: a deployment that serves them, their answers checked, what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pocket_protocol import relay as relay_protocol
from pocket_protocol.pb.pocket.service_pb2 import RelayResponse
from pocket_protocol.signer import verify
from tests.integration.sender import Sender, curve, public_key
from tests.integration.socket_client import SocketClient
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment, wait_until

SERVICE, OTHER, MUTE, GREET, AWAY = "develop-http", "develop-rest", "mute", "greet", "away"
CALL = b'{"id":1,"jsonrpc":"2.0","method":"eth_blockNumber","params":[]}'


@contextmanager
def socket_stage(directory: Any, **more: Any) -> Iterator[Deployment]:
    def relayer(settings: dict[str, Any]) -> None:
        backend = settings["services"][SERVICE]["backends"]["jsonrpc"]["url"].replace("http", "ws")
        for service, path in ((SERVICE, "/ws"), (OTHER, "/ws/echo")):
            settings["services"][service]["backends"]["websocket"] = {
                "url": backend + path,
                "headers": {"X-Key": "k"},
            }
        for service, url in (
            (MUTE, backend + "/ws/mute"),
            (GREET, backend + "/ws/greet"),
            (AWAY, "ws://127.0.0.1:9"),
        ):
            settings["services"][service] = {"backends": {"websocket": {"url": url}}}
        settings["services"]["plain"] = {"backends": {"jsonrpc": {"url": "http://127.0.0.1:9"}}}

    with deployment(
        directory, RELAYER, relayer=relayer, block_time_s=STILL_S, front_end_workers=1, **more
    ) as running:
        running.step_to(5)
        yield running


def connect(stage: Deployment, service: str = SERVICE, **headers: str) -> SocketClient:
    return SocketClient(stage.relayer_address, {"Target-Service-Id": service, "Rpc-Type": "2", **headers})


def relay(sender: Sender, payload: bytes = CALL, service: str = SERVICE, **changes: Any) -> bytes:
    return relay_protocol.encode_request(sender.request(service, payload=payload, **changes))


def checked(encoded: bytes, request: bytes, supplier: str = "supplier1") -> RelayResponse:
    """A response signed by the supplier, for the request's session."""
    response = relay_protocol.decode_response(encoded)
    assert response.meta.session_header == relay_protocol.decode_request(request).meta.session_header
    assert response.payload_hash == relay_protocol.payload_hash(response.payload)
    signable = relay_protocol.signable_response(response)
    assert verify(curve(), public_key(supplier), signable, response.meta.supplier_operator_signature)  # type: ignore[arg-type]
    return response


class Books:
    """What was charged and mined since this was made."""

    def __init__(self, stage: Deployment) -> None:
        self.stage = stage
        self.before = self._now()

    def _now(self) -> tuple[int, int]:
        return sum(self.stage.charges().values()), sum(self.stage.streams().values())

    @property
    def charged(self) -> int:
        return self._now()[0] - self.before[0]

    @property
    def mined(self) -> int:
        return self._now()[1] - self.before[1]

    def check_nothing(self) -> None:
        wait_until(lambda: (self.charged, self.mined) == (0, 0), "what was reserved to be given back")
