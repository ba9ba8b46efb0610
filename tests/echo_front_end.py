"""A front end without a pipeline: it says what the server handed to it. Named by POCKET_RELAYER_FRONT_END."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

import gevent

from relayer_web.admission import BodyTooLarge
from relayer_web.backends.contract import EndpointReport
from relayer_web.config import RelayerConfig
from relayer_web.http_answer import error_answer
from relayer_web.inbound import Answer, Inbound
from relayer_web.refusals import refusal_answer
from relayer_web.websocket.handshake import Upgrade

SLOW_S = 1.0


class EchoFrontEnd:
    """Answers what arrived, as JSON. The body `slow` takes a second, `raw:…` comes back as it is."""

    def __init__(self, config: RelayerConfig) -> None:
        self.config = config
        self.reasons: list[str] = []

    def start(self) -> None:
        """Nothing runs in the background."""

    def drain(self) -> None:
        self.reasons.append("shutting down")

    def stop(self) -> None:
        """Nothing is held."""

    def serve(self, inbound: Inbound) -> Answer:
        if inbound.oversize:
            return refusal_answer(BodyTooLarge(), "")
        if inbound.body == b"slow":
            gevent.sleep(SLOW_S)
        if inbound.body.startswith(b"raw:"):
            return Answer(200, [("Content-Type", "application/json")], inbound.body)
        document = {
            "length": len(inbound.body),
            "body": inbound.body[:100].decode("latin-1"),
            "headers": {name: value for name, value in inbound.headers.items() if name.startswith("x-")},
            "peer": inbound.peer,
            "pid": os.getpid(),
        }
        return Answer(200, [("Content-Type", "application/json")], json.dumps(document).encode())

    def serve_websocket(self, upgrade: Upgrade) -> Answer | None:
        return error_answer(501, "websocket relays are not served here")

    def unanswered(self, inbound: Inbound, answer: Answer) -> None:
        """Nobody counts here."""

    def block_height(self) -> int:
        return 105

    def why_not_ready(self) -> Sequence[str]:
        return self.reasons

    def endpoints(self, service_id: str) -> Sequence[EndpointReport]:
        return [EndpointReport("one", "http://127.0.0.1:8545/", True)]

    def in_flight(self, service_id: str) -> int:
        return 0


def echo_front_end(config: RelayerConfig) -> EchoFrontEnd:
    return EchoFrontEnd(config)
