"""Doing what the plan says: each fault begins, and the lasting ones are undone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
import urllib.request
from collections.abc import Callable
from typing import Any

from relay_cli.up.files import STORE_MEMORY
from relay_store.connection import connect
from tests.bench.cpu_time import children_of
from tests.chaos.network import Network
from tests.chaos.plan import Fault
from tests.chaos.proxy import order
from tests.integration.stage import command_line

Undo = Callable[[], object]
NEARLY_FULL, FULL = 0.90, 1.03  # used memory / limit; admission stops at 0.85
FIND_S = 5.0  # a process that was just killed is started again within this time
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class NothingToHit(LookupError):
    """What the fault is meant for does not run now."""


class Actions:
    """The faults of one network. `hit` is told the process id and the name of parents, beats and masters hit."""

    def __init__(self, network: Network, hit: Callable[[str, int], None]) -> None:
        self._network = network
        self._hit = hit
        self._begin: dict[str, Callable[[Fault], Undo | None]] = {
            "kill parent": self._kill_process,
            "kill beat": self._kill_process,
            "kill master": self._kill_process,
            "kill backend": self._kill_process,
            "kill store": self._kill_process,
            "kill broker": self._kill_process,
            "kill lock store": self._kill_process,
            "kill sentinel": self._kill_process,
            "kill replica": lambda fault: self._kill(self._replica()),
            "kill child": lambda fault: self._kill_child(fault, "celery"),
            "kill front-end worker": lambda fault: self._kill_child(fault, "gunicorn"),
            "kill gRPC process": lambda fault: self._kill_child(fault, "relayer_web.grpc_server"),
            "pause parent": self._pause,
            "pause beat": self._pause,
            "pause store": self._pause,
            "pause broker": self._pause,
            "pause lock store": self._pause,
            "fail over": lambda fault: self._pause_process(self._master()),
            "fail over, then kill": self._fail_over_and_kill,
            "store nearly full": lambda fault: self._fill(NEARLY_FULL),
            "store full": lambda fault: self._fill(FULL),
            "cut connections": self._cut,
            "hold connections": lambda fault: self._route(fault.target, "hold"),
            "node down": lambda fault: self._routes(fault.target, "refuse"),
            "node holds": lambda fault: self._routes(fault.target, "hold"),
            "node lags": lambda fault: self._node(fault, lag_blocks=int(fault.amount)),
            "node slow": lambda fault: self._node(fault, slow_s=fault.amount),
            "node refuses": lambda fault: self._node(fault, refuse_methods=["*"]),
            "node silent": lambda fault: self._node(fault, silent_websocket=True),
            "node loses answers": self._lose_answers,
            "mempool lost": lambda fault: self._admin(1, "mempool", drop=True),
            "mempool held": self._hold_mempool,
            "chain stands still": self._stand_still,
            "chain's clock off": self._shift_clock,
        }

    def begin(self, fault: Fault) -> Undo | None:
        """Begin a fault; return what undoes it. Raises `NothingToHit`, OSError."""
        return self._begin[fault.kind](fault)

    # --- processes

    def _find(self, name: str) -> int:
        deadline = time.monotonic() + FIND_S
        while time.monotonic() < deadline:
            process_id = self._network.process_id(name)
            if process_id is not None:
                return process_id
            time.sleep(0.05)
        raise NothingToHit(f"{name} does not run")

    def _kill_process(self, fault: Fault) -> None:
        self._kill(fault.target)

    def _kill(self, name: str) -> None:
        process_id = self._find(name)
        self._hit(name, process_id)
        os.kill(process_id, signal.SIGKILL)

    def _kill_child(self, fault: Fault, containing: str) -> None:
        children = [
            child
            for child in children_of(self._find(fault.target))
            if containing.encode() in command_line(str(child))
        ]
        if not children:
            raise NothingToHit(f"{fault.target} has no children")
        os.kill(children[int(fault.seconds * 10) % len(children)], signal.SIGKILL)

    def _pause(self, fault: Fault) -> Undo:
        return self._pause_process(fault.target)

    def _pause_process(self, name: str) -> Undo:
        process_id = self._find(name)
        self._hit(name, process_id)
        os.kill(process_id, signal.SIGSTOP)
        return lambda: _signal(process_id, signal.SIGCONT)

    # --- stores

    def _master(self) -> str:
        try:
            return self._network.stores.master_name()
        except LookupError as error:
            raise NothingToHit(str(error)) from None

    def _replica(self) -> str:
        master = self._master()
        return next(name for name in self._network.stores.names if name != master)

    def _fail_over_and_kill(self, fault: Fault) -> Undo:
        name = self._master()
        process_id = self._find(name)
        self._hit(name, process_id)
        os.kill(process_id, signal.SIGSTOP)
        return lambda: _signal(process_id, signal.SIGKILL)

    def _fill(self, share: float) -> Undo:
        """Lower the limit until the store is this full."""
        url = f"redis://{self._network.layout.ports.address('store')}"
        with connect(url, timeout_s=2).client as client:
            used = int(client.info("memory")["used_memory"])
            client.config_set("maxmemory", int(used / share))

        def undo() -> None:
            with connect(url, timeout_s=2).client as client:
                client.config_set("maxmemory", STORE_MEMORY)

        return undo

    # --- connections

    def _cut(self, fault: Fault) -> None:
        for route in self._routes_of(fault.target):
            order(self._network.control, "cut", route)

    def _route(self, target: str, verb: str) -> Undo:
        routes = self._routes_of(target)
        for route in routes:
            order(self._network.control, verb, route)
        return lambda: [order(self._network.control, "pass", route) for route in routes]

    def _routes(self, nodes: str, verb: str) -> Undo:
        undone = [self._route(f"node-{number}", verb) for number in _numbers(nodes)]
        return lambda: [undo() for undo in undone]

    @staticmethod
    def _routes_of(target: str) -> list[str]:
        if target.startswith("node-"):
            return [f"{target}-grpc", f"{target}-rpc"]
        return ["broker-proxy" if target == "broker" else target]

    # --- the chain and its nodes

    def _admin(self, node: int, call: str, **body: Any) -> None:
        url = f"{self._network.admin_url(node)}/{call}"
        request = urllib.request.Request(url, json.dumps(body).encode(), method="POST")
        with _DIRECT.open(request, timeout=10) as answer:
            answer.read()

    def _node(self, fault: Fault, **faults: Any) -> Undo:
        sound = {"lag_blocks": 0, "slow_s": 0.0, "refuse_methods": [], "silent_websocket": False}
        numbers = _numbers(fault.target)
        for number in numbers:
            self._admin(number, "faults", **faults)
        well = {name: sound[name] for name in faults}
        return lambda: [self._admin(number, "faults", **well) for number in numbers]

    def _lose_answers(self, fault: Fault) -> None:
        for number in _numbers(fault.target):
            self._admin(number, "faults", lose_answers=int(fault.amount))

    def _hold_mempool(self, fault: Fault) -> Undo:
        self._admin(1, "mempool", hold=True)
        return lambda: self._admin(1, "mempool", hold=False)

    def _stand_still(self, fault: Fault) -> Undo:
        self._admin(1, "pause")
        return lambda: self._admin(1, "resume")

    def _shift_clock(self, fault: Fault) -> Undo:
        self._admin(1, "clock", offset_s=fault.amount)
        return lambda: self._admin(1, "clock", offset_s=0)


def _signal(process_id: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(process_id, number)


def _numbers(nodes: str) -> tuple[int, ...]:
    return {"node 1": (1,), "node 2": (2,), "both nodes": (1, 2)}[nodes]
