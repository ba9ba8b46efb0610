"""`relay websocket|stream|cometbft` against a real relayer, backend and chain (spec/relayer.md §8.2-8.4)."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from relay_cli.main import cli
from relay_cli.relay.stream_diagnostic import DELIMITER, split_batches, stream_body
from tests.integration.stage import RELAYER, STILL_S, Deployment, deployment, wait_until

SERVICE = "develop-http"


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with deployment(
        tmp_path_factory.mktemp("modes"), RELAYER, block_time_s=STILL_S, front_end_workers=1
    ) as running:
        running.step_to(5)
        yield running


def relay(stage: Deployment, mode: str, *more: str) -> Result:
    ports = stage.layout.ports
    where = ["--node", ports.address("grpc"), "--relayer-url", ports.url("relayer")]
    keys = str(stage.layout.directory / "client-keys.yaml")
    arguments = ["relay", mode, "--service", SERVICE, *where, "--keys-file", keys, "--timeout", "10", *more]
    return CliRunner().invoke(cli, arguments)


def mined(stage: Deployment) -> int:
    return sum(stage.streams().values())


def test_one_relay_over_a_websocket(stage: Deployment) -> None:
    before = mined(stage)
    result = relay(stage, "websocket")
    assert result.exit_code == 0, result.output
    for text in ("Signature: ✅ VALID", "Error Check: ✅ NO ERRORS", '"method": "eth_blockNumber"'):
        assert text in result.stdout
    assert "HTTP 200" not in result.stdout
    assert mined(stage) == before + 1


def test_one_relay_over_a_websocket_as_json(stage: Deployment) -> None:
    result = relay(stage, "websocket", "--payload", '{"id":3,"method":"m"}', "--json")
    document = json.loads(result.stdout)
    assert (document["success"], document["response"]["status"]) == (True, None)
    assert document["response"]["json"]["result"]["method"] == "m"


def test_many_relays_over_websockets_follow_the_session(stage: Deployment) -> None:
    """The connections are closed with the session; the relays go on in the next one, and none is lost."""
    before = mined(stage)
    runs: list[Result] = []

    def run() -> None:
        more = ("--load-test", "-n", "300", "--concurrency", "4", "--rps", "100", "--all-suppliers", "--json")
        runs.append(relay(stage, "websocket", *more))

    thread = threading.Thread(target=run)
    thread.start()
    wait_until(lambda: mined(stage) > before + 50, "some relays")
    stage.step_to(11)
    thread.join(60)
    [result] = runs
    document = json.loads(result.stdout)
    assert (document["total"], document["failed"], document["errors"]) == (300, 0, {})
    assert len({served["session_id"] for served in document["served"]}) == 2
    assert len({served["supplier"] for served in document["served"]}) == 2
    assert mined(stage) - before >= 300


def test_a_service_without_a_websocket_is_told(stage: Deployment) -> None:
    result = relay(stage, "websocket", "--relayer-url", f"{stage.layout.ports.url('backend')}/none", "--json")
    assert result.exit_code == 1
    document = json.loads(result.stdout)
    assert (document["success"], document["reason"]) == (False, "relay_refused")


def test_one_stream(stage: Deployment) -> None:
    before = mined(stage)
    result = relay(stage, "stream", "--path", "/stream/sse", "--batches", "3")
    assert result.exit_code == 0, result.output
    for text in ("Batches Received: 3", "Signatures: ✅ ALL VALID", "Batch 3: ", "First Batch Time:"):
        assert text in result.stdout
    assert result.stdout.count('"type":"update"') == 3
    assert mined(stage) == before + 1


def test_one_stream_as_json(stage: Deployment) -> None:
    result = relay(stage, "stream", "--path", "/stream/ndjson", "--batches", "2", "--json")
    document = json.loads(result.stdout)
    assert document["success"] is True
    assert document["payload"] == '{"sequence":0}\n{"sequence":1}\n'
    assert len(document["batches"]) == 2
    assert document["times_ms"]["first batch"] < document["times_ms"]["stream"]


def test_an_answer_that_is_no_stream_is_told(stage: Deployment) -> None:
    result = relay(stage, "stream", "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["error"] == "the stream ended without a batch"


def test_cometbft(stage: Deployment) -> None:
    result = relay(stage, "cometbft", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["response"]["json"]["result"]["method"] == "status"


@pytest.mark.parametrize(
    ("mode", "more", "text"),
    [
        ("jsonrpc", ["--batches", "2"], "--batches only applies to stream mode"),
        ("stream", ["--load-test"], "not supported for streaming relays"),
        ("stream", ["--batches", "2", "--payload", "[]"], "needs a JSON object"),
        ("websocket", ["--relayer-url", "ftp://x"], "ws(s):// or http(s)://"),
    ],
)
def test_options_that_do_not_fit(stage: Deployment, mode: str, more: list[str], text: str) -> None:
    result = relay(stage, mode, *more)
    assert result.exit_code == 2 and text in result.output


def test_batches_are_put_into_the_call() -> None:
    assert stream_body(b'{"id":1}', 0) == b'{"id":1}'
    assert stream_body(b'{"id":1}', 3) == b'{"batches":3,"id":1}'
    assert stream_body(b"verbatim", 0) == b"verbatim"


def test_a_truncated_batch_is_dropped() -> None:
    whole = b"a" + DELIMITER + b"b" + DELIMITER + b"tail"
    pieces = [whole[start : start + 3] for start in range(0, len(whole), 3)]
    assert list(split_batches(iter(pieces))) == [b"a", b"b"]
    assert list(split_batches(iter([]))) == []
