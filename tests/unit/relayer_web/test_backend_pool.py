"""Which endpoint gets a relay, what is tried again, and what the breaker learns, over real sockets."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from localnet.backend.behaviour import Counters
from localnet.backend.demo_service import DemoServer
from pocket_protocol.grpc_frames import encode_frame
from relayer_web.backends.configured import ConfiguredBackends
from relayer_web.backends.contract import (
    BackendFailed,
    BackendRequest,
    BackendResponse,
    BackendTimeout,
    ForbiddenRequest,
    NoBackend,
)
from relayer_web.backends.observer import BackendObserver
from relayer_web.config import load_relayer_config
from tests.raw_backend import RawBackend, Script, ok, raw_backend

BAD = b"HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"
NOT_FOUND = b"HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"


class Seen(BackendObserver):
    def __init__(self) -> None:
        self.changes: list[tuple[str, str, str, bool]] = []
        self.probes: list[tuple[str, bool]] = []
        self.in_flight_now = 0
        self.probed_good = threading.Event()

    def endpoint_changed(
        self, service_id: str, transport: str, endpoint: str, healthy: bool, cause: str
    ) -> None:
        self.changes.append((service_id, transport, endpoint, healthy))

    def probed(self, service_id: str, transport: str, endpoint: str, good: bool) -> None:
        self.probes.append((endpoint, good))
        if good:
            self.probed_good.set()

    def in_flight(self, service_id: str, change: int) -> None:
        self.in_flight_now += change


class Bench:
    """Backends and the configuration that names them."""

    def __init__(self, directory: Path, stack: ExitStack) -> None:
        self.directory = directory
        self.stack = stack
        self.seen = Seen()

    def backend(self, answer: bytes | Script | None) -> RawBackend:
        return self.stack.enter_context(raw_backend(answer))

    def of(
        self, urls: list[str], *, transport: str = "jsonrpc", timeout_s: int = 5, settings: str = ""
    ) -> ConfiguredBackends:
        listed = ", ".join(f"{{name: b{number}, url: '{url}'}}" for number, url in enumerate(urls))
        path = self.directory / "relayer.yaml"
        path.write_text(
            "pocket_node: {query_node_rpc_url: 'http://127.0.0.1:9', query_node_grpc_url: '127.0.0.1:9'}\n"
            f"timeout_profiles: {{fast: {{request_timeout_seconds: {timeout_s}}}}}\n"
            f"services: {{svc: {{default_backend: {transport}, backends: {{{transport}: {{urls: [{listed}], {settings}}}}}}}}}\n"
        )
        backends = ConfiguredBackends(load_relayer_config(path).config, self.seen)
        self.stack.callback(backends.stop)
        return backends


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    with ExitStack() as stack:
        yield Bench(tmp_path, stack)


def call(
    backends: ConfiguredBackends, method: str = "POST", transport: str = "jsonrpc", **more: object
) -> BackendResponse:
    return backends.call("svc", transport, BackendRequest(method, "/", [], b"q", **more))  # type: ignore[arg-type]


def test_round_robin_begins_with_the_second_and_is_even(bench: Bench) -> None:
    servers = [bench.backend(ok(b"%d" % number)) for number in range(3)]
    backends = bench.of([server.url for server in servers])
    assert [call(backends).body for _ in range(6)] == [b"1", b"2", b"0", b"1", b"2", b"0"]


def test_first_healthy_keeps_to_the_configured_order(bench: Bench) -> None:
    servers = [bench.backend(ok(b"%d" % number)) for number in range(2)]
    backends = bench.of([server.url for server in servers], settings="load_balancing: first_healthy")
    assert [call(backends).body for _ in range(3)] == [b"0"] * 3


def test_a_server_error_is_tried_again_elsewhere_and_counted(bench: Bench) -> None:
    bad, good = bench.backend(BAD), bench.backend(ok())
    backends = bench.of([bad.url, good.url], settings="load_balancing: first_healthy")
    response = call(backends)
    assert (response.status, response.retries) == (200, 1)
    assert len(bad.requests) == 1


def test_a_dead_endpoint_is_passed_over_after_the_threshold(bench: Bench) -> None:
    dead, good = bench.backend(None), bench.backend(ok())
    backends = bench.of([dead.url, good.url], settings="load_balancing: first_healthy")
    assert [call(backends).retries for _ in range(6)] == [1, 1, 1, 1, 1, 0]
    assert bench.seen.changes == [("svc", "jsonrpc", "b0", False)]
    assert [endpoint.healthy for endpoint in backends.report("svc")] == [False, True]


def test_the_last_answer_counts_when_all_fail(bench: Bench) -> None:
    first, second = bench.backend(BAD), bench.backend(BAD)
    backends = bench.of([first.url, second.url])
    response = call(backends)
    assert (response.status, response.body, response.retries) == (503, b"busy", 1)
    assert (len(first.requests), len(second.requests)) == (1, 1)


def test_one_endpoint_is_never_tried_twice(bench: Bench) -> None:
    bad = bench.backend(BAD)
    assert call(bench.of([bad.url])).status == 503
    assert len(bad.requests) == 1


@pytest.mark.parametrize(("retries", "attempts"), [(0, 1), (1, 2), (3, 4)])
def test_the_number_of_attempts_is_bounded(bench: Bench, retries: int, attempts: int) -> None:
    servers = [bench.backend(BAD) for _ in range(5)]
    backends = bench.of([server.url for server in servers], settings=f"max_retries: {retries}")
    assert call(backends).retries == attempts - 1
    assert sum(len(server.requests) for server in servers) == attempts


def test_client_errors_are_answers(bench: Bench) -> None:
    first, second = bench.backend(NOT_FOUND), bench.backend(ok())
    backends = bench.of([first.url, second.url], settings="load_balancing: first_healthy")
    for _ in range(7):
        assert (call(backends).status, bench.seen.changes) == (404, [])


def test_what_may_do_harm_twice_is_not_repeated_unless_it_was_never_sent(bench: Bench) -> None:
    bad, good = bench.backend(BAD), bench.backend(ok())
    settings = "load_balancing: first_healthy"
    rest = bench.of([bad.url, good.url], transport="rest", settings=settings)
    assert call(rest, "POST", "rest").status == 503
    assert call(rest, "GET", "rest").status == 200
    gone = bench.backend(ok())
    gone.stop()
    rest = bench.of([gone.url, good.url], transport="rest", settings=settings)
    assert call(rest, "POST", "rest").retries == 1


def slow_until(event: threading.Event) -> Script:
    def script(request: bytes, number: int) -> bytes:
        event.wait(10)
        return ok()

    return script


def test_services_share_no_connections(bench: Bench) -> None:
    """reference: TestBuildClientPool_OneClientPerService: a busy service takes none of another's connections."""
    server = bench.backend(ok())
    path = bench.directory / "relayer.yaml"
    one = f"{{backends: {{jsonrpc: {{url: '{server.url}'}}}}}}"
    path.write_text(
        "pocket_node: {query_node_rpc_url: 'http://127.0.0.1:9', query_node_grpc_url: '127.0.0.1:9'}\n"
        f"services: {{a: {one}, b: {one}}}\n"
    )
    backends = ConfiguredBackends(load_relayer_config(path).config, bench.seen)
    for service in ("a", "b", "a", "b"):
        assert backends.call(service, "jsonrpc", BackendRequest("POST", "/", [], b"q")).status == 200
    assert server.connections == 2
    backends.stop()


def test_a_time_out_is_a_wall_it_is_not_repeated_and_no_failure(bench: Bench) -> None:
    done = threading.Event()
    slow, good = bench.backend(slow_until(done)), bench.backend(ok())
    backends = bench.of(
        [slow.url, good.url], timeout_s=1,
        settings="load_balancing: first_healthy, health_check: {unhealthy_threshold: 1}",
    )  # fmt: skip
    started = time.monotonic()
    with pytest.raises(BackendTimeout):
        call(backends)
    assert 0.9 < time.monotonic() - started < 1.5
    assert (good.requests, bench.seen.changes, bench.seen.in_flight_now) == ([], [], 0)
    done.set()


def test_all_attempts_share_one_deadline(bench: Bench) -> None:
    done = threading.Event()

    def late_failure(request: bytes, number: int) -> bytes:
        done.wait(0.7)
        return BAD

    first, second = bench.backend(late_failure), bench.backend(slow_until(done))
    backends = bench.of([first.url, second.url], timeout_s=1, settings="load_balancing: first_healthy")
    started = time.monotonic()
    with pytest.raises(BackendTimeout):
        call(backends)
    assert time.monotonic() - started < 1.5
    done.set()


def test_nothing_healthy_and_nothing_configured_are_told_apart(bench: Bench) -> None:
    bad = bench.backend(BAD)
    backends = bench.of([bad.url], settings="health_check: {unhealthy_threshold: 2}")
    assert backends.is_ready("svc", "jsonrpc")
    call(backends), call(backends)
    assert not backends.is_ready("svc", "jsonrpc")
    with pytest.raises(NoBackend) as refused:
        call(backends)
    assert refused.value.configured
    with pytest.raises(NoBackend) as refused:
        call(backends, transport="rest")
    assert not refused.value.configured
    assert (backends.has_pool("svc", "jsonrpc"), backends.has_pool("svc", "rest")) == (True, False)
    assert not backends.is_ready("svc", "rest")
    assert not backends.is_ready("other", "jsonrpc")


def test_a_tripped_endpoint_is_tried_again_after_its_recovery_time(bench: Bench) -> None:
    fail = [True]
    server = bench.backend(lambda request, number: BAD if fail[0] else ok())
    settings = "recovery_timeout_seconds: 1, health_check: {unhealthy_threshold: 1}"
    backends = bench.of([server.url], settings=settings)
    call(backends)
    assert not backends.is_ready("svc", "jsonrpc")
    fail[0] = False
    deadline = time.monotonic() + 3
    while not backends.is_ready("svc", "jsonrpc"):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert call(backends).status == 200
    assert [healthy for *_, healthy in bench.seen.changes] == [False, True]


def test_a_dead_endpoint_on_trial_costs_no_relay_where_there_is_another(bench: Bench) -> None:
    dead, good = bench.backend(BAD), bench.backend(ok())
    settings = (
        "load_balancing: first_healthy, recovery_timeout_seconds: 1, health_check: {unhealthy_threshold: 1}"
    )
    backends = bench.of([dead.url, good.url], settings=settings)
    assert call(backends).status == 200
    deadline = time.monotonic() + 3
    while not backends.report("svc")[0].healthy:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert [call(backends).status for _ in range(20)] == [200] * 20
    assert len(dead.requests) == 2  # the first, and one trial


def test_http_is_not_spoken_to_other_transports(bench: Bench) -> None:
    server = bench.backend(ok())
    backends = bench.of([server.url.replace("http", "ws")], transport="websocket")
    with pytest.raises(BackendFailed):
        call(backends, transport="websocket")
    assert server.requests == []
    assert backends.select("svc", "websocket").url.startswith("ws://")


def test_forbidden_requests_never_leave(bench: Bench) -> None:
    server = bench.backend(ok())
    backends = bench.of([server.url])
    for request in (
        BackendRequest("GET /x HTTP/1.1\r\n", "/", [], b""),
        BackendRequest("GET", "/\r\nX: 1", [], b""),
        BackendRequest("GET", "/", [("A", "b\r\nC: d")], b""),
    ):
        with pytest.raises(ForbiddenRequest):
            backends.call("svc", "jsonrpc", request)
    assert server.requests == []


def test_the_report_hides_what_a_url_keeps_secret(bench: Bench) -> None:
    backends = bench.of(["http://user:password@127.0.0.1:1/p?key=secret"])
    (endpoint,) = backends.report("svc")
    assert "password" not in endpoint.url
    assert "secret" not in endpoint.url
    assert (endpoint.name, endpoint.healthy) == ("b0", True)


PROBE = "enabled: true, interval_seconds: 1, endpoint: '/health?deep=1', healthy_threshold: 1, unhealthy_threshold: 1"


def probes(
    bench: Bench, answer: bytes, more: str = "", pool: str = ""
) -> tuple[RawBackend, ConfiguredBackends]:
    """Start backends with probes on and wait for the first one."""
    server = bench.backend(answer)
    backends = bench.of([server.url + "/base"], settings=f"{pool} health_check: {{{PROBE}{more}}}")
    backends.start()
    deadline = time.monotonic() + 5
    while not bench.seen.probes:
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return server, backends


def test_a_probe_asks_as_configured(bench: Bench) -> None:
    more = """, method: POST, request_body: '{"a":1}', headers: {X-Key: probe, X-Probe: '1'}"""
    pool = "headers: {X-Key: pool, X-Pool: '1'}, authentication: {username: u, password: p, bearer_token: b},"
    server, _ = probes(bench, ok(), more, pool)
    head, _, body = server.requests[0].partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /base/health?deep=1 HTTP/1.1"
    assert {b"Content-Type: application/json", b"X-Key: probe", b"X-Probe: 1", b"X-Pool: 1",
            b"Authorization: Bearer b"} <= set(lines)  # fmt: skip
    assert body == b'{"a":1}'
    assert bench.seen.probes[0] == ("b0", True)


@pytest.mark.parametrize(
    ("more", "line", "content_type"),
    [
        ("", b"GET /base/health?deep=1 HTTP/1.1", None),
        (
            ", method: POST, request_body: '{}', content_type: text/x",
            b"POST /base/health?deep=1 HTTP/1.1",
            b"text/x",
        ),
    ],
)
def test_a_probe_s_method_and_content_type(
    bench: Bench, more: str, line: bytes, content_type: bytes | None
) -> None:
    server, _ = probes(bench, ok(), more)
    lines = server.requests[0].partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert lines[0] == line
    types = [one.partition(b": ")[2] for one in lines if one.startswith(b"Content-Type: ")]
    assert types == ([content_type] if content_type else [])


@pytest.mark.parametrize(
    ("answer", "more", "good"),
    [
        (ok(), "", True),
        (NOT_FOUND, "", False),
        (NOT_FOUND, ", expected_status: [404]", True),
        (ok(), ", expected_status: [404]", False),
        (ok(b"all is well"), ", expected_body: well", True),
        (ok(b"all is well"), ", expected_body: bad", False),
        (b"nonsense\r\n\r\n", "", False),
    ],
)
def test_a_probe_judges_status_and_body(bench: Bench, answer: bytes, more: str, good: bool) -> None:
    _, backends = probes(bench, answer, more)
    assert bench.seen.probes[0] == ("b0", good)
    assert backends.is_ready("svc", "jsonrpc") is good


def test_probes_bring_an_endpoint_back(bench: Bench) -> None:
    answers = [BAD]
    server = bench.backend(lambda request, number: answers[-1])
    backends = bench.of([server.url], settings=f"recovery_timeout_seconds: 0, health_check: {{{PROBE}}}")
    call(backends)
    assert not backends.is_ready("svc", "jsonrpc")
    answers.append(ok())
    backends.start()
    assert bench.seen.probed_good.wait(5)
    assert backends.is_ready("svc", "jsonrpc")


@pytest.fixture
def demo() -> Iterator[tuple[DemoServer, Counters]]:
    counters = Counters()
    server = DemoServer("127.0.0.1:0", counters)
    server.start()
    yield server, counters
    server.stop()


@pytest.mark.parametrize("scheme", ["grpc", "http"])
def test_grpc_endpoints_are_probed_by_a_connection(
    bench: Bench, demo: tuple[DemoServer, Counters], scheme: str
) -> None:
    server, counters = demo
    backends = bench.of(
        [f"{scheme}://{server.address}"], transport="grpc", settings=f"health_check: {{{PROBE}}}"
    )
    backends.start()
    assert bench.seen.probed_good.wait(5)
    assert counters.to_json()["total"] == 0


def test_a_grpc_call_that_reached_nobody_goes_to_another(
    bench: Bench, demo: tuple[DemoServer, Counters]
) -> None:
    settings = "load_balancing: first_healthy, authentication: {bearer_token: t}"
    backends = bench.of(["127.0.0.1:9", demo[0].address], transport="grpc", settings=settings)
    request = BackendRequest(
        "POST",
        "/demo.DemoService/GetBlockHeight",
        [("Content-Type", "application/grpc"), ("TE", "trailers")],
        encode_frame(b""),
        identity={"Pocket-Supplier": "pokt1s"},
    )
    response = backends.call("svc", "grpc", request)
    assert (response.body, response.retries) == (bytes.fromhex("00000000020801"), 1)
    received = demo[1].received[-1]["headers"]
    assert (received["authorization"], received["pocket-supplier"]) == ("Bearer t", "pokt1s")
    assert "accept-encoding" not in received


@pytest.mark.parametrize(("status", "trips"), [("14", True), ("4", False), ("5", False)])
def test_a_grpc_backend_that_calls_itself_unavailable_is_left_for_another(
    bench: Bench, demo: tuple[DemoServer, Counters], status: str, trips: bool
) -> None:
    """Its answers are answers all the same."""
    settings = "load_balancing: first_healthy, health_check: {unhealthy_threshold: 2}"
    backends = bench.of([demo[0].address, "127.0.0.1:9"], transport="grpc", settings=settings)
    headers = [("Content-Type", "application/grpc"), ("x-status", status)]
    request = BackendRequest("POST", "/test.TestService/Status", headers, encode_frame(b""))
    for _ in range(2):
        response = backends.call("svc", "grpc", request)
        assert ("Grpc-Status", status) in list(response.headers)
    assert [endpoint.healthy for endpoint in backends.report("svc")] == [not trips, True]


def test_what_is_no_grpc_call_trips_no_breaker(bench: Bench, demo: tuple[DemoServer, Counters]) -> None:
    backends = bench.of([demo[0].address], transport="grpc")
    for _ in range(6):
        with pytest.raises(ForbiddenRequest):
            backends.call("svc", "grpc", BackendRequest("POST", "/", [("Content-Type", "text/plain")], b"{}"))
    assert backends.is_ready("svc", "grpc")
