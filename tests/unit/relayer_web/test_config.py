"""The relayer's file: the reference's rules and messages (spec/relayer.md §6), and ours."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from operations.config_file import ConfigInvalid, bind
from relayer_web.config import RelayerConfig, TimeoutProfile, load_relayer_config
from relayer_web.config_simulation import SimulationIdentity, SimulationSection
from tests import recorded

HEAD = "pocket_node: {query_node_rpc_url: 'http://h:1', query_node_grpc_url: 'h:2'}\nkeys: {keys_file: k}\n"
SERVICE = HEAD + "services:\n  anvil:\n    backends:\n      jsonrpc: {url: 'http://a'}\n"
APP_KEY = "0279be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798"
GATEWAY_KEY = "02c6047f9441ed7d6d3045406e95c07cd85c778e4b8cef3ca7abac09b95c709ee5"
PLACEHOLDER = "021066f293709356a33e9c13017867586baf52513e845bc4335233a15ed1e00baf"
OFF_CURVE = "02" + "00" * 31 + "05"


def config(text: str) -> RelayerConfig:
    return bind(text, RelayerConfig).config


def backend(text: str, transport: str = "jsonrpc") -> str:
    return (
        HEAD
        + f"services:\n  anvil:\n    default_backend: {transport}\n    backends:\n      {transport}: {text}\n"
    )


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigInvalid) as caught:
        bind(text, RelayerConfig)
    return [f"{problem.key}: {problem.text}" for problem in caught.value.problems]


@recorded.needs_recordings
def test_the_captured_file_loads() -> None:
    loaded = load_relayer_config(recorded.path("localnet/relayer.yaml"))
    assert len(loaded.config.services) == 6
    assert loaded.config.timeouts("develop-stream") == TimeoutProfile(600, 0, 10, 15)
    assert loaded.config.validation_mode("develop-http") == "eager"
    assert [warning.key for warning in loaded.warnings] == [
        "grace_period_extra_blocks",
        "pprof",
        "logging.output",
    ]
    with pytest.raises(ConfigInvalid):
        load_relayer_config(recorded.path("localnet/relayer.yaml"), strict=True)


@pytest.mark.parametrize("name", ["relayer.yaml"])
def test_the_shipped_example_loads_without_a_word(name: str) -> None:
    example = Path(__file__).parents[3] / "deploy" / "config" / name
    assert load_relayer_config(example, strict=True).warnings == ()


def test_defaults_are_the_references() -> None:
    c = config(SERVICE)
    assert (c.listen_addr, c.metrics.addr, c.health_check.addr) == (
        "0.0.0.0:8080",
        "0.0.0.0:9090",
        "0.0.0.0:8081",
    )
    assert (c.redis.url, c.redis.pool_size) == ("redis://localhost:6379", 50)
    assert c.validation_mode("anvil") == "eager"  # decisions.md D3
    assert c.timeouts("anvil") == TimeoutProfile(30, 30, 5, 10)
    pool = c.pool("anvil")
    assert (pool.max_conns_per_host, pool.max_idle_conns_per_host, pool.idle_conn_timeout_seconds) == (
        500,
        100,
        90,
    )
    assert c.max_body_bytes("anvil") == c.largest_body_bytes == 10_485_760
    assert (c.relay_meter.fail_behavior, c.relay_meter.cache_ttl_s) == ("open", 7200)
    only = c.services["anvil"].backends["jsonrpc"]
    assert (only.max_retries, only.recovery_timeout_seconds, only.strategy, only.breaker_threshold) == (
        1, 30, "first_healthy", 5,
    )  # fmt: skip
    assert (only.health_check.failed_probes, only.health_check.healthy_threshold) == (3, 2)


def test_profiles_merge_by_name_and_replace_whole_entries() -> None:
    c = config(
        SERVICE
        + "timeout_profiles: {fast: {request_timeout_seconds: 2, name: fast}}\n"
        + "http_transport: {dial_timeout_seconds: 7}\npool_profiles: {tiny: {max_conns_per_host: 1}}\n"
    )
    assert set(c.timeout_profiles) == {"fast", "streaming"} and set(c.pool_profiles) == {
        "low",
        "medium",
        "high",
        "tiny",
    }
    assert c.timeouts("anvil") == TimeoutProfile(2, 0, 7, 10)  # gaps: none, transport, transport


def test_service_values_fall_back_to_the_global_ones() -> None:
    c = config(
        HEAD + "default_max_body_size_bytes: 100\ndefault_request_timeout_seconds: 9\n"
        "timeout_profiles: {none: {}}\nservices:\n"
        "  a: {backends: {jsonrpc: {url: 'http://a'}}, timeout_profile: none, pool_profile: low}\n"
        "  b: {backends: {jsonrpc: {url: 'http://a'}}, max_body_size_bytes: 300, validation_mode: optimistic}\n"
    )
    assert (c.max_body_bytes("a"), c.max_body_bytes("b"), c.largest_body_bytes) == (100, 300, 300)
    assert (c.timeouts("a").request_timeout_seconds, c.pool("a").max_conns_per_host) == (9, 10)
    assert (c.validation_mode("a"), c.validation_mode("b")) == ("eager", "optimistic")


@pytest.mark.parametrize(
    ("transport", "given", "url"),
    [
        ("jsonrpc", "10.0.0.1:8545", "http://10.0.0.1:8545"),
        ("rest", "node:80/v1", "http://node:80/v1"),
        ("grpc", "127.0.0.1:9090", "grpc://127.0.0.1:9090"),
        ("grpc", "localhost:25051", "grpc://localhost:25051"),
        ("grpc", "grpcs://h:1", "grpcs://h:1"),
        ("cometbft", "https://u:p@h/x", "https://u:p@h/x"),
        ("websocket", "wss://h", "wss://h"),
    ],
)
def test_backend_addresses_get_their_scheme(transport: str, given: str, url: str) -> None:
    c = config(backend(f"{{url: '{given}'}}", transport))
    (target,) = c.services["anvil"].backends[transport].targets(transport)
    assert target.url == url and "u:p" not in target.name


@pytest.mark.parametrize(
    ("text", "strategy"),
    [
        ("{url: 'http://a'}", "first_healthy"),
        ("{urls: ['http://a']}", "first_healthy"),
        ("{urls: ['http://a', 'http://b']}", "round_robin"),
        ("{urls: ['http://a', 'http://b'], load_balancing: ''}", "round_robin"),
        ("{urls: ['http://a', 'http://b'], load_balancing: first_healthy}", "first_healthy"),
        ("{url: 'http://a', load_balancing: round_robin}", "round_robin"),
    ],
)
def test_the_strategy_follows_from_the_number_of_addresses_unless_it_is_said(
    text: str, strategy: str
) -> None:
    """reference: TestBuildPools_AutoDetect_*, TestBuildPools_Explicit*, TestBuildPools_EmptyStrategyIsAutoDetect."""
    assert config(backend(text)).services["anvil"].backends["jsonrpc"].strategy == strategy


def test_several_addresses_with_names() -> None:
    c = config(backend("{urls: ['http://a', {name: second, url: 'b:1'}]}"))
    one = c.services["anvil"].backends["jsonrpc"]
    assert [(t.name, t.url) for t in one.targets("jsonrpc")] == [("a", "http://a"), ("second", "http://b:1")]
    assert one.strategy == "round_robin"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("services: {a: {backends: {jsonrpc: {url: 'http://a'}}}}", "pocket_node.query_node_rpc_url: is required"),
        ("services: {a: {backends: {jsonrpc: {url: 'http://a'}}}}", "pocket_node.query_node_grpc_url: is required"),
        (HEAD, "services: at least one service must be configured"),
        (HEAD + "services: {a: {}}", "services.a.backends: is required: at least one backend type must be configured"),
        (HEAD + "services: {a: ~}", "services.a.backends: is required: at least one backend type must be configured"),
        (SERVICE + "    validation_mode: zz\n", "services.anvil.validation_mode: is invalid: 'zz'"),
        (SERVICE + "default_validation_mode: zz\n", "default_validation_mode: is invalid: 'zz'"),
        (backend("{url: 'http://a'}", "ws"), 'services.anvil.backends.ws: unknown backend type "ws"'),
        (backend("{url: 'http://a'}", "json-rpc"), '(did you mean "jsonrpc"?)'),
        (backend("{url: 'http://a', urls: ['http://b']}"), "url and urls are mutually exclusive"),
        (backend("{}"), "at least one of url or urls is required"),
        (backend("{url: 'http://a'}", "websocket"), 'must use ws:// or wss:// (got "http" in "http://a")'),
        (backend("{url: 'ftp://a'}"), "url must use http://, https://"),
        (backend("{url: 'http://'}"), "has no host"),
        (backend("{url: 'http://a:99999'}"), "is not a URL"),
        (backend("{urls: ['http://a/x', 'https://u:hush@a/x/']}"), "duplicate URL detected: https://u:***@a/x/"),
        (backend("{urls: [{name: n, url: 'http://a'}, {name: n, url: 'http://b'}]}"), "duplicate name detected: n"),
        (backend("{urls: ['']}"), "is empty"),
        (backend("{urls: ['http://a', ' ']}"), "backends.jsonrpc.urls[1]: "),
        (SERVICE + "pool_profiles: {p: {max_conns_per_host: -1}}\n", "must be at least 0"),
        (SERVICE + "timeout_profiles: {fast: {dial_timeout_seconds: -1}}\n", "must be at least 0"),
        (backend("{url: 'http://a', max_retries: 9}"), "max_retries: must be 0-3, got 9"),
        (backend("{url: 'http://a', load_balancing: random}"), "load_balancing: is invalid: 'random'"),
        (backend("{url: 'http://a', health_check: {enabled: true, interval_seconds: 1}}"), "is required when enabled"),
        (backend("{url: 'http://a', base_path: /x, health_check: {enabled: true}}"), "must be positive"),
        (backend("{url: 'http://a', headers: {'a b': c}}"), "is not a header name"),
        (backend('{url: "http://a", headers: {X: "a\\r\\nb"}}'), "the value must be one line"),
        (SERVICE + "    timeout_profile: zz\n", "service anvil references undefined timeout profile zz"),
        (SERVICE + "    pool_profile: zz\n", "service anvil references undefined pool profile zz"),
        (SERVICE.replace("anvil", "an vil"), "a service id is 1 to 42"),
        (SERVICE + "simulation: {enabled: true}\n", "simulation: enabled but no identities are pinned"),
        (SERVICE + "relay_meter: {fail_behavior: ajar}\n", "relay_meter.fail_behavior: is invalid: 'ajar'"),
        (SERVICE + "default_max_body_size_bytes: -1\n", "must be at least 0"),
        (SERVICE + "redis: {url: 'redis-cluster://a:1'}\n", "extensions.broker_url"),
        (SERVICE + "redis: {url: 'redis://a'}\nextensions: {broker_url: 'redis-cluster://a'}\n", "Redis Cluster as its"),
        (SERVICE + "extensions: {max_ring_size: 1}\n", "extensions.max_ring_size: must be at least 2"),
    ],
)  # fmt: skip
def test_what_is_refused(text: str, problem: str) -> None:
    found = problems(text)
    assert any(problem in one for one in found), found
    assert not any("hush" in one for one in found)


def test_all_problems_come_together() -> None:
    text = HEAD + "services:\n  a:\n    validation_mode: x\n    backends: {foo: {url: 'http://a'}}\n  b: {}\n"
    assert len(problems(text)) == 3


def test_odd_but_usable_settings_are_warned_about() -> None:
    text = (
        SERVICE
        + "    default_backend: rest\npprof: {enabled: true}\nhttp_pool_profile: x\nsupplier_cache: {}\n"
    )
    loaded = bind(text, RelayerConfig)
    assert {warning.key for warning in loaded.warnings} == {
        "services.anvil.default_backend", "pprof", "http_pool_profile", "supplier_cache",
    }  # fmt: skip
    assert any(
        "no key source" in w.text for w in bind(SERVICE.replace("keys_file: k", ""), RelayerConfig).warnings
    )


def test_tracing_without_its_extra_is_warned_about(monkeypatch: pytest.MonkeyPatch) -> None:
    """A relayer serves without its traces; it does not stay down for them."""
    text = SERVICE + "extensions: {tracing: {endpoint: 'http://127.0.0.1:4318'}}\n"
    monkeypatch.setattr("relayer_web.config_tracing.is_installed", lambda: False)
    warnings = [warning.text for warning in bind(text, RelayerConfig).warnings]
    assert any("pocket-relay-miner[otel]" in warning for warning in warnings)
    monkeypatch.setattr("relayer_web.config_tracing.is_installed", lambda: True)
    assert not any("otel" in warning.text for warning in bind(text, RelayerConfig).warnings)


def test_secrets_stay_out_of_repr() -> None:
    text = backend(
        "{urls: ['https://u:hush1@h/hush2'], headers: {X: hush3}, authentication: {username: u, password: hush4},"
        " health_check: {headers: {Y: hush5}}}"
    )
    assert "hush" not in repr(
        config(text + "redis: {url: 'redis://:hush6@h'}\nextensions: {broker_url: 'redis://:hush7@h'}")
    )


def test_the_command_line_may_name_the_store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "r.yaml").write_text(SERVICE)
    monkeypatch.setenv("POCKET_REDIS_URL", "redis://x")
    assert load_relayer_config(tmp_path / "r.yaml").config.redis.url == "redis://x"
    monkeypatch.setenv("POCKET_REDIS_URL", "http://x")
    with pytest.raises(ConfigInvalid, match="POCKET_REDIS_URL"):
        load_relayer_config(tmp_path / "r.yaml")


def identity(**values: object) -> SimulationIdentity:
    return SimulationIdentity(
        **{"key_id": "k", "enabled": True, "app_pubkey_hex": APP_KEY, "gateway_pubkeys_hex": (GATEWAY_KEY,)}
        | values  # type: ignore[arg-type]
    )


def test_a_sound_identity_has_no_defects() -> None:
    one = identity(not_after="2030-01-01T00:00:00Z", allowed_services=("a",))
    assert list(one.defects()) == []
    assert one.ring == (bytes.fromhex(APP_KEY), bytes.fromhex(GATEWAY_KEY))


@pytest.mark.parametrize(
    ("values", "path"),
    [
        ({"key_id": ""}, ("key_id",)),
        ({"max_rps": -1}, ("max_rps",)),
        ({"not_after": "tomorrow"}, ("not_after",)),
        ({"not_after": "2030-01-01T00:00:00"}, ("not_after",)),
        ({"app_pubkey_hex": "zz"}, ("app_pubkey_hex",)),
        ({"app_pubkey_hex": APP_KEY[:-2]}, ("app_pubkey_hex",)),
        ({"app_pubkey_hex": PLACEHOLDER}, ("app_pubkey_hex",)),
        ({"app_pubkey_hex": OFF_CURVE}, ("app_pubkey_hex",)),
        ({"gateway_pubkeys_hex": ()}, ("gateway_pubkeys_hex",)),
        ({"gateway_pubkeys_hex": (GATEWAY_KEY, PLACEHOLDER)}, ("gateway_pubkeys_hex", "[1]")),
        ({"gateway_pubkeys_hex": (OFF_CURVE,)}, ("gateway_pubkeys_hex", "[0]")),
    ],
)
def test_what_makes_an_identity_unusable(values: dict[str, object], path: tuple[str, ...]) -> None:
    assert [defect.path for defect in identity(**values).defects()] == [path]
    enabled = SimulationSection(True, identities=(identity(**values),))
    assert [remark.warning for remark in enabled.remarks()] == [False]
    disabled = SimulationSection(False, identities=(identity(**values),))
    assert [remark.warning for remark in disabled.remarks()] == [True]


def test_simulation_from_a_file() -> None:
    text = SERVICE + (
        f"simulation:\n  enabled: true\n  max_concurrent: 0\n  identities:\n  - {{key_id: a, max_rps: 0, app_pubkey_hex: '{APP_KEY}',"
        f" gateway_pubkeys_hex: ['{GATEWAY_KEY}'], not_after: 2020-01-01T00:00:00Z, enabled: true}}\n"
    )
    loaded = bind(text, RelayerConfig)
    section = loaded.config.simulation
    assert (section.max_concurrent, section.freshness_window_seconds, section.identities[0].max_rps) == (
        32,
        30,
        5,
    )
    assert any("past its not_after" in warning.text for warning in loaded.warnings)
    again = text + text[text.index("  - {") :]
    assert any("duplicate key_id a" in problem for problem in problems(again))


def test_expired_identities_in_order() -> None:
    end = datetime(2030, 1, 1, tzinfo=UTC)
    section = SimulationSection(
        True,
        identities=(
            identity(key_id="b", not_after="2030-01-01T00:00:00Z"),
            identity(key_id="off", not_after="2020-01-01T00:00:00Z", enabled=False),
            identity(key_id="odd", not_after="never"),
            identity(key_id="a", not_after="2029-12-31T23:59:59+00:00"),
            identity(key_id="none"),
        ),
    )
    assert section.expired_identities(end) == ("a",)  # strictly after
    assert section.expired_identities(end.replace(second=1)) == ("b", "a")
