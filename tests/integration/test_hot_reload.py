"""Keys and configuration change while relays flow: real processes, kept-alive connections, and no relay lost."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from localnet.default_genesis import named_key
from tests.integration.raw_http import (
    RawAnswer,
    answer_bytes,
    exchange,
    open_connection,
    read_answer,
    scripted_backend,
)
from tests.integration.sender import Sender, address, check_good
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment, edit_yaml, get_json, wait_until

SERVICE = "develop-http"
CONNECTIONS = 4
PAUSE_S = 0.01  # steady, not as fast as can be: the tests beside need the processors too
JSON = [("Content-Type", "application/json")]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(
        tmp_path_factory.mktemp("reload"), RELAYER, block_time_s=STILL_S, front_end_workers=2
    ) as running:
        running.step_to(25)
        wait_until(lambda: len(running.front_end_workers()) == 2, "both workers")  # one is enough to be ready
        yield running


@pytest.fixture(scope="module")
def sender(network: Deployment) -> Sender:
    return Sender(network.layout.ports.address("grpc"), [SERVICE], 25)


class Traffic:
    """Relays one after the other on kept-alive connections; a connection that is told to close is replaced."""

    def __init__(self, relayer: tuple[str, int], relay: bytes) -> None:
        self._relayer, self._relay = relayer, relay
        self._ending = threading.Event()
        self.statuses: Counter[int] = Counter()
        self.lost = 0
        self.connections = 0
        self._threads = [threading.Thread(target=self._send) for _ in range(CONNECTIONS)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join(30)

    @property
    def total(self) -> int:
        return self.statuses.total()

    def _send(self) -> None:
        connection: socket.socket | None = None
        while not self._ending.wait(PAUSE_S):
            if connection is None:
                connection = open_connection(self._relayer)
                self.connections += 1
            try:
                connection.sendall(self._relay)
                answer = read_answer(connection)
            except OSError:
                answer = None
            if answer is None:
                self.lost += 1
            else:
                self.statuses[answer.status] += 1
            if answer is None or answer.closed:
                connection.close()
                connection = None
        if connection is not None:
            connection.close()


@contextmanager
def traffic(network: Deployment, sender: Sender) -> Iterator[Traffic]:
    flowing = Traffic(network.relayer_address, sender.post(SERVICE))
    flowing.start()
    try:
        yield flowing
    finally:
        flowing.end()


def log_text(network: Deployment) -> str:
    return "".join(path.read_text() for path in network.layout.logs.glob("relayer*"))


def answers(network: Deployment, sender: Sender, **changes: Any) -> list[RawAnswer]:
    """One answer each on new connections, often enough to meet both workers."""
    found = [exchange(network.relayer_address, sender.post(SERVICE, **changes)) for _ in range(8)]
    return [answer for answer in found if answer is not None]


def rewrite(path: Path, content: str) -> None:
    """Replace a file the way editors and secret mounts do."""
    fresh = path.with_suffix(".new")
    fresh.write_text(content)
    fresh.chmod(0o600)
    fresh.replace(path)


def test_a_changed_file_takes_effect_under_load_and_loses_nothing(
    network: Deployment, sender: Sender
) -> None:
    config = network.layout.relayer_config
    before_it = config.read_text()
    workers = network.front_end_workers()
    with scripted_backend() as other, traffic(network, sender) as flowing:
        other.answer = answer_bytes(200, [*JSON, ("Content-Length", "2")], b"{}")
        wait_until(lambda: flowing.total > 20, "traffic")

        def move(settings: dict[str, Any]) -> None:
            settings["services"][SERVICE]["backends"]["jsonrpc"] = {"url": f"http://{other.address}"}
            settings["services"]["develop-new"] = {"backends": {"jsonrpc": {"url": "http://127.0.0.1:9"}}}

        edit_yaml(config, move)
        wait_until(lambda: other.received, "the new backend to be asked")
        wait_until(
            lambda: all(_body_is(a, b"{}") for a in answers(network, sender)),
            "both workers to follow",
            every_s=0.2,
        )
        before = flowing.total
        wait_until(lambda: flowing.total > before + 20, "more traffic")
        config.write_text(before_it)
        wait_until(
            lambda: not any(_body_is(a, b"{}") for a in answers(network, sender)),
            "both workers to follow back",
            every_s=0.2,
        )
    assert flowing.lost == 0
    assert set(flowing.statuses) == {200}
    assert flowing.connections == CONNECTIONS  # none was closed
    assert network.front_end_workers() == workers
    text = log_text(network)
    assert f"services.{SERVICE}.backends.jsonrpc.url" in text
    assert "services.develop-new (added)" in text
    assert "services.develop-new (removed)" in text
    assert get_json(f"{network.layout.ports.url('health')}/ready/{SERVICE}")["ready"]


def _body_is(answer: RawAnswer, body: bytes) -> bool:
    return answer.status == 200 and check_good(answer) == body


def test_a_half_written_or_wrong_file_changes_nothing(network: Deployment, sender: Sender) -> None:
    config = network.layout.relayer_config
    good = config.read_text()
    said = "configuration not changed"
    count = log_text(network).count(said)
    try:
        config.write_text(good[: len(good) // 2] + "\n  x: [")
        wait_until(lambda: log_text(network).count(said) >= count + 2, "both workers to say so")
        assert all(answer.status == 200 for answer in answers(network, sender))
    finally:
        config.write_text(good)


def test_new_workers_lose_nothing_either(network: Deployment, sender: Sender) -> None:
    old = set(network.front_end_workers())
    with traffic(network, sender) as flowing:
        wait_until(lambda: flowing.total > 20, "traffic")
        os.kill(network.process_id("relayer"), signal.SIGHUP)
        wait_until(lambda: not old & set(network.front_end_workers()), "the old workers to end", 40)
        before = flowing.total
        wait_until(lambda: flowing.total > before + 20, "more traffic")
    assert flowing.lost == 0
    assert set(flowing.statuses) == {200}


def test_a_removed_key_s_relays_are_refused_and_an_added_one_s_served(
    network: Deployment, sender: Sender
) -> None:
    path = network.layout.supplier_keys
    both = path.read_text()
    keys = yaml.safe_load(both)["keys"]
    first = named_key("supplier1").reveal().hex()
    only_first = yaml.safe_dump({"keys": [key for key in keys if key.removeprefix("0x") == first]})
    assert all(answer.status == 200 for answer in answers(network, sender, supplier="supplier2"))
    with traffic(network, sender) as flowing:
        rewrite(path, only_first)
        wait_until(
            lambda: all(a.status == 503 for a in answers(network, sender, supplier="supplier2")),
            "the removed key's relays to be refused",
            every_s=0.2,
        )
        (answer, *_) = answers(network, sender, supplier="supplier2")
        assert f"supplier {address('supplier2')} not registered with any miner" in answer.body.decode()
        rewrite(path, both)
        wait_until(
            lambda: all(a.status == 200 for a in answers(network, sender, supplier="supplier2")),
            "the added key's relays to be served",
            every_s=0.2,
        )
    assert flowing.lost == 0
    assert set(flowing.statuses) == {200}
    text = log_text(network)
    assert "supplier keys changed" in text
    for key in keys:
        assert key.removeprefix("0x") not in text


def test_a_half_written_key_file_removes_nothing(network: Deployment, sender: Sender) -> None:
    path = network.layout.supplier_keys
    both = path.read_text()
    said = "keys not reloaded"
    count = log_text(network).count(said)
    try:
        path.write_text(both[: len(both) - 20])
        wait_until(lambda: log_text(network).count(said) >= count + 2, "both workers to say so")
        assert all(answer.status == 200 for answer in answers(network, sender, supplier="supplier2"))
    finally:
        path.write_text(both)
