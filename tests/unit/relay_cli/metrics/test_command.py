"""`metrics` against endpoints that serve the product's own metrics."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result
from prometheus_client import CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from mining_tasks.metrics import MinerMetrics
from relay_cli.main import cli
from relayer_web.metrics import RelayerMetrics
from tests.unit.relay_cli.screen import Screen, run_until_ctrl_c

SUPPLIER = "pokt1supplier"


@contextmanager
def endpoint(text: Callable[[], bytes]) -> Iterator[str]:
    """Serve `text()` as metrics; yields host:port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == "/metrics"
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(text() if found else b"")

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()


class HereAndNow(Collector):
    """This process's own figures, as the endpoint has them of each process."""

    def collect(self) -> Iterator[Metric]:
        seconds = CounterMetricFamily("process_cpu_seconds", "", labels=["pid"])
        seconds.add_metric(["7"], sum(os.times()[:2]))
        memory = GaugeMetricFamily("process_resident_memory_bytes", "", labels=["pid"])
        memory.add_metric(["7"], 3 << 20)
        yield from (seconds, memory)


@pytest.fixture
def relayer() -> Iterator[tuple[RelayerMetrics, str]]:
    registry = CollectorRegistry()
    registry.register(HereAndNow())
    metrics = RelayerMetrics(["svc1"], registry)
    with endpoint(lambda: generate_latest(registry)) as address:
        yield metrics, address


@pytest.fixture
def miner() -> Iterator[tuple[MinerMetrics, str]]:
    registry = CollectorRegistry()
    metrics = MinerMetrics(registry)
    with endpoint(lambda: generate_latest(registry)) as address:
        yield metrics, address


def run(*words: object) -> Result:
    result = CliRunner().invoke(cli, ["metrics", *map(str, words)])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def sections(*words: object) -> dict[str, Any]:
    result = run(*words, "--json")
    assert result.exit_code == 0, result.output
    return dict(json.loads(result.stdout)["sections"])


def served(metrics: RelayerMetrics, count: int, seconds: float = 0.02) -> None:
    for _ in range(count):
        metrics.count("relays_received", "svc1", "jsonrpc")
        metrics.count("relays_served", "svc1", "jsonrpc", "200")
        metrics.observe("relay_latency_seconds", seconds, "svc1", "jsonrpc")
    metrics.flush()


def test_a_relayer_shows_relays_refusals_latencies_and_its_state(relayer: tuple[RelayerMetrics, str]) -> None:
    metrics, address = relayer
    served(metrics, 99)
    served(metrics, 1, seconds=1.5)
    metrics.count("relays_rejected", "svc1", "jsonrpc", "stake_exhausted", by=2)
    metrics.count("relays_rejected", "svc1", "rest", "malformed", by=3)
    metrics.count("fast_fails", "svc1", by=4)
    metrics.count("validation_failures", "svc1", "bad_ring")
    metrics.count("backend_requests", "svc1", "ok", "200", by=5)
    metrics.count_cache("session", "hit", "l1")
    metrics.count_cache("session", "miss", "l1")
    metrics.count_cache("session", "miss", "l3")
    metrics.set("current_block_height", 42)
    metrics.set("admission_open", 0)
    metrics.set("redis_used_memory_bytes", 3 << 20)
    metrics.set("redis_max_memory_bytes", 12 << 20)
    metrics.set("backend_health_status", 0, "svc1", "http://b")
    metrics.flush()
    found = sections("--url", address)
    (state,) = found["relayer"]
    assert (state["height"], state["admission"], state["store"]) == (42, "CLOSED", "3.0 MiB of 12 MiB (25%)")
    (relays,) = found["relays"]
    assert (relays["received"], relays["served"], relays["refused"], relays["lost"]) == (100, 100, 9, 0)
    reasons = [(row["reason"], row["relays"]) for row in found["refused, by reason"]]
    assert reasons == [
        ("no healthy backend", 4),
        ("malformed", 3),
        ("stake_exhausted", 2),
        ("did not verify: bad_ring", 1),
    ]
    (latency,) = found["latency, ms"]
    assert (latency["count"], latency["what"]) == (100, "whole relay")
    assert 10 < latency["p50"] < latency["p90"] <= 25 == latency["p99"]
    assert found["backends"] == [
        {"service_id": "svc1", "endpoint": "http://b", "healthy": "NO", "in_flight": 0}
    ]
    assert [row["answers"] for row in found["answers of backends"]] == [5]
    assert found["caches"][0] == {
        "cache": "session",
        "asked": 2,
        "process_had": "50.0%",
        "store_had": 0,
        "chain_asked": 1,
    }
    (process,) = found["processes"]
    assert (process["pid"], process["memory_mib"], process["open_files"]) == ("7", 3.0, 0)
    assert process["cpu_s"] > 0 and "busy" not in process
    shown = run("--url", address).stdout
    assert "Refused, by reason" in shown and "From streams to trees" not in shown


def test_a_miner_shows_streams_sessions_claims_money_and_balances(miner: tuple[MinerMetrics, str]) -> None:
    metrics, address = miner
    of = (SUPPLIER, "svc1")
    metrics.set("ha_miner_current_block_height", 42)
    metrics.set("ha_miner_leader_status", 1)
    metrics.set("ha_miner_consumer_lag", 7, SUPPLIER)
    metrics.count("ha_miner_relays_consumed_from_stream", SUPPLIER, by=20)
    metrics.count("ha_miner_relays_added_to_smst", SUPPLIER, by=18)
    metrics.count("ha_miner_relays_rejected", SUPPLIER, "late", by=2)
    metrics.count("ha_miner_session_state_transitions", *of, "active", "claiming", by=3)
    metrics.count("ha_miner_sessions_failed", *of, "claim_window_closed")
    metrics.count("ha_miner_claims_submitted", *of, by=2)
    metrics.count("ha_miner_claim_errors", SUPPLIER, "node_unavailable")
    metrics.count("ha_miner_proof_errors", SUPPLIER, "refused")
    metrics.count("ha_tx_insufficient_balance_errors", SUPPLIER)
    metrics.count("ha_miner_upokt_claimed", *of, by=1000)
    metrics.count("ha_miner_upokt_earned", *of, by=700)
    metrics.set("ha_miner_supplier_balance_upokt", 5000, SUPPLIER)
    metrics.set("ha_miner_supplier_balance_health_status", 1, SUPPLIER)
    metrics.observe("ha_miner_claim_submission_latency_blocks", 2, SUPPLIER)
    metrics.observe("ha_miner_task_seconds", 0.02, "accumulate")
    metrics.count("ha_miner_task_failures", "accumulate", "store_unavailable")
    found = sections("--url", address)
    assert (found["miner"][0]["height"], found["miner"][0]["ticks"]) == (42, "yes")
    (stream,) = found["from streams to trees"]
    assert (stream["waiting"], stream["settled"], stream["leaves"], stream["no_leaf"]) == (7, 20, 18, 2)
    assert found["sessions, by the state they came into"] == [
        {"state": "claiming", "sessions": 3},
        {"state": "unpaid: claim_window_closed", "sessions": 1},
    ]
    (claims,) = found["claims and proofs"]
    assert (claims["claims"], claims["errors"], claims["slashed"]) == (2, 2, 0)
    assert [(row["phase"], row["reason"]) for row in found["refused or not sent"]] == [
        ("claim", "node_unavailable"),
        ("proof", "refused"),
        ("any", "fee cannot be paid"),
    ]
    assert found["after the window opened, blocks"][0]["p50"] == 2
    (money,) = found["upokt"]
    assert (money["claimed"], money["earned"], money["lost"]) == (1000, 700, 0)
    assert found["balances"][0]["balance"] == "warning" and found["balances"][0]["balance_upokt"] == 5000
    (task,) = found["tasks, ms"]
    assert (task["task"], task["failures"]) == ("accumulate", 1)
    assert "Claims and proofs" in run("--url", address).stdout


def test_looking_again_shows_rates_and_the_latencies_of_the_interval(
    relayer: tuple[RelayerMetrics, str],
) -> None:
    metrics, address = relayer
    served(metrics, 50, seconds=1.5)

    def meanwhile(screen: Screen) -> None:
        screen.wait_for('"url"')
        served(metrics, 10, seconds=0.02)
        screen.wait_for('"per_s"', 1)

    shown, code = run_until_ctrl_c(["metrics", "--url", address, "--watch", "0.05", "--json"], meanwhile)
    documents = [json.loads(line) for line in shown.splitlines()]
    first, later = documents[0]["sections"], [document["sections"] for document in documents[1:]]
    assert code == 0 and "per_s" not in first["relays"][0] and first["latency, ms"][0]["p50"] > 1000
    busy = [one for one in later if one["relays"][0]["per_s"]]
    assert busy and all(one["latency, ms"][0]["p99"] <= 25 for one in busy)
    assert all(one["processes"][0]["busy"].endswith("%") for one in later)
    quiet = [one for one in later if not one["relays"][0]["per_s"]]
    assert all(one["latency, ms"] == [] and one["relays"][0]["served"] >= 50 for one in quiet)


def test_the_endpoints_of_configuration_files_are_read(
    relayer: tuple[RelayerMetrics, str], miner: tuple[MinerMetrics, str], tmp_path: Path
) -> None:
    node = {"query_node_rpc_url": "http://h:1", "query_node_grpc_url": "h:1"}
    shared = {"redis": {"url": "redis://h"}, "pocket_node": node, "keys": {"keys_file": "k"}}
    services = {"svc1": {"backends": {"jsonrpc": {"url": "http://h:1"}}}}
    files = []
    for name, address, more in (("relayer", relayer[1], {"services": services}), ("miner", miner[1], {})):
        file = tmp_path / f"{name}.yaml"
        port = address.rpartition(":")[2]
        file.write_text(yaml.safe_dump({**shared, **more, "metrics": {"addr": f"0.0.0.0:{port}"}}))
        files += ["--config", file]
    result = run(*files, "--json")
    first, second = [json.loads(line) for line in result.stdout.splitlines()]
    assert first["url"] == f"http://{relayer[1]}/metrics" and "relays" in first["sections"]
    assert second["url"] == f"http://{miner[1]}/metrics" and "uPOKT".lower() in second["sections"]
    file.write_text(yaml.safe_dump({**shared, "metrics": {"enabled": False}}))
    off = run("--config", file)
    assert off.exit_code == 1 and "metrics.enabled is false" in off.stderr
    file.write_text("redis: [")
    assert run("--config", file).exit_code == run("--config", tmp_path / "none.yaml").exit_code == 1
    assert run().exit_code == 2


def test_one_endpoint_that_is_away_is_said_and_the_others_are_shown(
    relayer: tuple[RelayerMetrics, str],
) -> None:
    result = run("--url", "127.0.0.1:1", "--url", relayer[1])
    assert result.exit_code == 1 and "Relayer" in result.stdout
    assert result.stderr.startswith("Error: metrics cannot be read") and result.stderr.count("\n") == 1


@pytest.mark.parametrize("text", [b"<html>no metrics</html>", b"\xff\xfe", b'ha_relayer_x{le="'])
def test_an_endpoint_that_serves_something_else_is_an_error(text: bytes) -> None:
    with endpoint(lambda: text) as address:
        result = run("--url", address)
        assert result.exit_code == 1 and result.stderr.count("\n") == 1
        assert run("--url", f"http://{address}/elsewhere").exit_code == 1


def test_an_endpoint_without_anything_yet_says_so() -> None:
    with endpoint(lambda: b"") as address:
        assert "nothing of a relayer or a miner yet" in run("--url", address).stdout


def test_the_list_has_every_metric_that_the_documentation_has() -> None:
    page = (Path(__file__).resolve().parents[4] / "docs" / "metrics.md").read_text()
    documented = re.findall(r"^\| `(ha_\w+)` \| (?:counter|gauge|histogram) \|", page, re.MULTILINE)
    rows = json.loads(run("--list", "--json").stdout)
    assert sorted(row["name"] for row in rows) == sorted(documented)
    assert all(row["meaning"] and row["type"] in ("counter", "gauge", "histogram") for row in rows)
    assert "ha_relayer_relays_served_total" in run("--list").stdout
