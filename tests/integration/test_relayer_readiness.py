"""`/ready` tells the truth of the serving path: the real pipeline, a real store that goes and comes back."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path

from pocket_protocol.types import BlockHash, BlockPosition, Height
from relay_store.block_feed import BlockPublisher
from relay_store.connection import connect
from relay_store.keys import Keys
from relayer_web.front_end import DEFAULT_FRONT_END
from tests.relayer_process import RelayerProcess, relayer_process
from tests.stores import kill_server, private_server

WAIT_S = 15.0
SETTINGS = """
redis: {{url: '{url}'}}
{keys}
services:
  good: {{backends: {{jsonrpc: {{url: 'http://127.0.0.1:9'}}}}}}
"""


def get(running: RelayerProcess, path: str, port: int = 0) -> tuple[int, bytes]:
    url = f"http://127.0.0.1:{port or running.port}{path}"
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def reasons(running: RelayerProcess) -> list[str]:
    return json.loads(get(running, "/ready")[1]).get("reasons", [])


def test_ready_follows_height_keys_and_store(tmp_path: Path) -> None:
    keys_file = tmp_path / "keys.yaml"
    keys_file.write_text(f"keys: ['{'11' * 32}']\n")
    data = tmp_path / "store"
    data.mkdir()
    with private_server(data) as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        settings = SETTINGS.format(url=url, keys=f"keys: {{keys_file: '{keys_file}'}}")
        extensions = {"block_time_seconds": 60}
        with relayer_process(
            tmp_path, front_end=DEFAULT_FRONT_END, settings=settings, extensions=extensions
        ) as running:
            status, body = get(running, "/ready")
            assert status == 503
            assert json.loads(body) == {
                "status": "unhealthy",
                "block_height": 0,
                "reasons": ["block height unknown"],
            }
            assert get(running, "/health") == (200, b'{"status":"healthy","block_height":0}')
            assert get(running, "/ready", running.health_port) == (
                503,
                b"block height unknown\n",
            )

            store = connect(url)
            publisher = BlockPublisher(
                store.client, height_key=Keys().height(), channel=Keys().blocks_channel(), chain_id="test"
            )
            publisher.publish(BlockPosition(Height(42), BlockHash(bytes(32)), time.time_ns()))
            wait_until(lambda: get(running, "/ready")[0] == 200)
            assert get(running, "/ready") == (200, b'{"status":"healthy","block_height":42}')
            assert get(running, "/ready", running.health_port) == (200, b"READY")
            status, body = get(running, "/ready/good", running.health_port)
            assert (status, json.loads(body)["ready"]) == (200, True)

            kill_server(server)
            wait_until(lambda: reasons(running) == ["store unavailable"])
            assert get(running, "/health")[0] == 200
            with private_server(data, port=server.port):
                wait_until(lambda: get(running, "/ready")[0] == 200)
                store.close()


def test_no_store_at_start_is_no_reason_to_end(tmp_path: Path) -> None:
    settings = SETTINGS.format(url="redis://127.0.0.1:9/0", keys="")
    with relayer_process(tmp_path, front_end=DEFAULT_FRONT_END, settings=settings) as running:
        assert get(running, "/health")[0] == 200
        assert reasons(running) == ["store unavailable", "block height unknown", "no signing keys"]
