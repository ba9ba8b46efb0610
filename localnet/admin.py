"""The admin side over HTTP: hold the chain, step it, break its node, change its state, read its books."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from localnet import governance
from localnet.blocks import rfc3339
from localnet.events import json_of
from localnet.genesis import MODULES, amount
from localnet.http_server import HttpServer, Request, Response
from localnet.status_page import render
from pocket_protocol.errors import PocketError

if TYPE_CHECKING:
    from localnet.node import LocalNode

ROUTES = {
    "GET /": "this page",
    "GET /status": "position, addresses, faults",
    "GET /ledger": "claims, settlements, slashes, balances",
    "GET /params": "live parameters of all modules",
    "GET /ready": "200 once there is a block",
    "POST /pause": "stop making blocks",
    "POST /resume": "make blocks again",
    "POST /step": '{"blocks": 1}: make blocks now',
    "POST /block-time": '{"seconds": 1.0}: time between blocks',
    "POST /clock": '{"offset_s": 0}: let block times run ahead or behind',
    "POST /faults": '{"lag_blocks", "slow_s", "slow_methods", "refuse_methods", "lose_answers", "silent_websocket"}',
    "POST /mempool": '{"hold": true}: keep transactions out of blocks; {"drop": true}: lose them',
    "POST /websockets/cut": "end all WebSocket connections",
    "POST /params": '{"module": "proof", "values": {…}}: governance',
    "POST /application": '{"address", "stake_upokt", "delegate", "undelegate", "unstake", "per_session_spend_limit_upokt"}',
    "POST /supplier": '{"operator", "stake_upokt", "services", "unstake"}',
    "POST /service": '{"id", "compute_units_per_relay"}',
    "POST /difficulty": '{"service", "target", "num_relays_ema", "height"}',
    "POST /fixture": '{"blocks": [{"height", "hash", "time_ns"}], "sessions": […]}',
    "POST /jump": '{"height": 660}: go on from another height',
}


class Admin:
    """Answers the admin calls of one node."""

    def __init__(self, address: str, node: LocalNode) -> None:
        """Listen at once. Raises `http_server.AddressTaken`."""
        self.node = node
        self._server = HttpServer(address, self._handle, "admin")
        self.address = self._server.address
        self._calls: dict[str, Callable[[dict[str, Any]], Any]] = {
            "GET /status": lambda body: self.status(),
            "GET /ledger": lambda body: node.ledger.to_json(),
            "GET /params": lambda body: self._params(),
            "POST /pause": lambda body: node.pause(),
            "POST /resume": lambda body: node.resume(),
            "POST /step": lambda body: node.chain.step(amount(body.get("blocks", 1), "blocks")).height,
            "POST /block-time": lambda body: node.set_block_time(float(body["seconds"])),
            "POST /clock": self._clock,
            "POST /faults": node.view.set_faults,
            "POST /mempool": self._mempool,
            "POST /websockets/cut": lambda body: node.rpc.subscriptions.cut_all(),
            "POST /params": self._set_params,
            "POST /application": self._application,
            "POST /supplier": self._supplier,
            "POST /service": self._service,
            "POST /difficulty": self._difficulty,
            "POST /fixture": node.chain.fixture.update,
            "POST /jump": lambda body: node.chain.jump_to(amount(body.get("height"), "height")),
        }

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        self._server.stop()

    def status(self) -> dict[str, Any]:
        chain, node = self.node.chain, self.node
        return {
            "chain_id": chain.genesis.chain_id,
            "height": chain.height,
            "block_time": rfc3339(chain.time_ns(chain.height)),
            "seconds_between_blocks": node.block_time_s,
            "paused": node.paused,
            "transactions_waiting": len(chain.waiting),
            "transactions_held": chain.held,
            "clock_offset_s": chain.clock_offset_ns / 10**9,
            "subscribers": node.rpc.subscriptions.number,
            "grpc": node.grpc.address,
            "rpc": node.rpc.address,
            "admin": self.address,
            "faults": node.view.faults_json(),
        }

    def _handle(self, request: Request) -> Response:
        route = f"{request.method} {request.path.rstrip('/') or '/'}"
        if route == "GET /":
            page = render(self.status(), self.node.ledger.to_json(), ROUTES)
            return Response(200, page.encode(), "text/html; charset=utf-8")
        if route == "GET /ready":
            ready = self.node.chain.height > 0
            return Response(200 if ready else 503, b'{"ready": %b}\n' % str(ready).lower().encode())
        call = self._calls.get(route)
        if call is None:
            return _json(404, {"error": f"there is no {route}", "calls": ROUTES})
        try:
            body = json.loads(request.body) if request.body else {}
            if not isinstance(body, dict):
                return _json(400, {"error": "a JSON object is wanted"})
            answer = call(body)
        except (PocketError, ValueError, KeyError, TypeError) as error:
            return _json(400, {"error": str(error) or repr(error)})
        return _json(200, answer if isinstance(answer, dict) else {"ok": True, "result": answer})

    def _params(self) -> dict[str, Any]:
        context = self.node.chain.at()
        return {module: json_of(context.params(module)) for module in MODULES}

    def _clock(self, body: dict[str, Any]) -> None:
        self.node.chain.clock_offset_ns = int(float(body["offset_s"]) * 10**9)

    def _mempool(self, body: dict[str, Any]) -> int:
        chain = self.node.chain
        if "hold" in body:
            chain.held = bool(body["hold"])
        return chain.drop_waiting() if body.get("drop") else 0

    def _set_params(self, body: dict[str, Any]) -> None:
        self.node.chain.change(lambda c: governance.set_params(c, body["module"], body["values"]))

    def _application(self, body: dict[str, Any]) -> None:
        self.node.chain.change(lambda c: governance.change_application(c, body["address"], body))

    def _supplier(self, body: dict[str, Any]) -> None:
        self.node.chain.change(lambda c: governance.change_supplier(c, body["operator"], body))

    def _service(self, body: dict[str, Any]) -> None:
        units = amount(body.get("compute_units_per_relay"), "compute_units_per_relay")
        self.node.chain.change(lambda c: governance.change_service(c, body["id"], units))

    def _difficulty(self, body: dict[str, Any]) -> None:
        self.node.chain.change(lambda c: governance.change_difficulty(c, body))


def _json(status: int, content: dict[str, Any]) -> Response:
    return Response(status, json.dumps(content).encode() + b"\n")
