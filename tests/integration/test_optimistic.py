"""An optimistic service through real processes: everything answered is mined, also when the process is told to end."""

from __future__ import annotations

import os
import signal
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pocket_protocol import relay as relay_protocol
from tests.integration.raw_http import exchange, post
from tests.integration.sender import Sender, address, check_good
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment, wait_until

SERVICE = "develop-http"
SENDERS, EACH = 4, 25


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    def relayer(settings: dict[str, Any]) -> None:
        settings["services"][SERVICE]["validation_mode"] = "optimistic"

    with deployment(
        tmp_path_factory.mktemp("optimistic"),
        RELAYER,
        relayer=relayer,
        block_time_s=STILL_S,
        front_end_workers=2,
    ) as running:
        running.step_to(5)
        yield running


def metric(network: Deployment, name: str) -> float:
    url = f"{network.layout.ports.url('relayer-metrics')}/metrics"
    with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((name + "{", name + " ")))


def test_forged_relays_are_answered_once_then_refused_and_never_charged(network: Deployment) -> None:
    sender = Sender(network.layout.ports.address("grpc"), [SERVICE], 5)
    request = sender.request(SERVICE)
    request.meta.session_header.session_id = "0" * 64
    forged = post(relay_protocol.encode_request(request), "Rpc-Type: 3")
    first = exchange(network.relayer_address, forged)
    assert first is not None
    assert first.status == 200
    wait_until(lambda: metric(network, "ha_relayer_relays_dropped_total") >= 1, "the relay to be dropped")

    def refused() -> bool:
        answer = exchange(network.relayer_address, forged)
        return answer is not None and answer.status == 403

    wait_until(lambda: all(refused() for _ in range(8)), "both workers to know better")
    assert network.streams() == {}
    assert network.charges() == {}


def test_everything_answered_is_mined_though_the_process_is_told_to_end(network: Deployment) -> None:
    sender = Sender(network.layout.ports.address("grpc"), [SERVICE], 5)
    raws = [sender.post(SERVICE) for _ in range(SENDERS * EACH)]
    answered: list[bool] = []

    def send(part: list[bytes]) -> None:
        for raw in part:
            try:
                answer = exchange(network.relayer_address, raw)
            except OSError:
                answer = None  # nobody listens any more
            if answer is not None and answer.status == 200:
                check_good(answer)
                answered.append(True)

    threads = [threading.Thread(target=send, args=(raws[n::SENDERS],)) for n in range(SENDERS)]
    workers = set(network.front_end_workers())
    for thread in threads:
        thread.start()
    wait_until(lambda: len(answered) > EACH, "traffic")
    os.kill(network.process_id("relayer"), signal.SIGTERM)
    for thread in threads:
        thread.join(60)
    wait_until(lambda: not workers & set(_alive(workers)), "the workers to end", 40)
    assert len(network.entries(address("supplier1"))) == len(answered)


def _alive(process_ids: set[int]) -> list[int]:
    return [number for number in process_ids if Path(f"/proc/{number}").exists()]
