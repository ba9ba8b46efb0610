"""What differs between two configurations is named by key, and no value is told."""

from __future__ import annotations

from dataclasses import replace

from operations.config_changes import config_changes
from relayer_web.config import RelayerConfig, RelayMeterSection, ServiceConfig
from relayer_web.config_backends import Authentication, BackendConfig


def test_equal_configurations_have_no_changes() -> None:
    assert list(config_changes(RelayerConfig(), RelayerConfig())) == []


def test_changes_are_named_by_the_file_s_keys() -> None:
    old = RelayerConfig(services={"a": ServiceConfig(), "b": ServiceConfig()})
    secret = BackendConfig(url="http://x", authentication=Authentication(bearer_token="hidden"))
    new = replace(
        old,
        services={"a": ServiceConfig(backends={"jsonrpc": secret}), "c": ServiceConfig()},
        relay_meter=RelayMeterSection(cache_ttl_s=100),
    )
    found = list(config_changes(old, new))
    assert found == [
        "services.a.backends.jsonrpc (added)",
        "services.b (removed)",
        "services.c (added)",
        "relay_meter.cache_ttl",
    ]
    changed = replace(secret, authentication=Authentication(bearer_token="other"))
    newer = replace(new, services={**new.services, "a": ServiceConfig(backends={"jsonrpc": changed})})
    assert list(config_changes(new, newer)) == ["services.a.backends.jsonrpc.authentication.bearer_token"]
