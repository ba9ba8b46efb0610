"""Key names are the contract of a mixed fleet: each one is compared with its literal."""

from __future__ import annotations

import binascii

import pytest

from relay_store.keys import CLAIM_PHASE, PROOF_PHASE, Keys, LeaseKeys
from relay_store.namespace import Namespace, NamespaceInvalid

S, SID = "pokt1s", "ab12"
T = "{ha:relays:pokt1s}"

GOLDEN = [
    ("relay_stream", (S,), "ha:relays:pokt1s"),
    ("relay_stream_pattern", (), "ha:relays:*"),
    ("consumer_group", (), "ha-miners"),
    ("lease", (S,), f"pm:{T}:lease"),
    ("owner", (S,), f"pm:{T}:owner"),
    ("epoch", (S,), f"pm:{T}:epoch"),
    ("commit", (S,), f"pm:{T}:commit"),
    ("ticket", (S,), f"pm:{T}:ticket"),
    ("sessions", (S,), f"pm:{T}:sessions"),
    ("totals", (S,), f"pm:{T}:totals"),
    ("fees", (S,), f"pm:{T}:fees"),
    ("dead", (S,), f"pm:{T}:dead"),
    ("session", (S, SID), f"pm:{T}:ab12:session"),
    ("leaves", (S, SID), f"pm:{T}:ab12:leaves"),
    ("index", (S, SID), f"pm:{T}:ab12:index"),
    ("seal", (S, SID), f"pm:{T}:ab12:seal"),
    ("root", (S, SID), f"pm:{T}:ab12:root"),
    ("intent", (S, SID, CLAIM_PHASE), f"pm:{T}:ab12:intent:claim"),
    ("intent", (S, SID, PROOF_PHASE), f"pm:{T}:ab12:intent:proof"),
    ("supplier_lease", (S,), LeaseKeys(f"pm:{T}:lease", f"pm:{T}:epoch", f"pm:{T}:owner")),
    ("beat_lease", (), LeaseKeys("pm:beat:lease", "pm:beat:epoch", None)),
    ("own_pattern", (), "pm:*"),
    ("shared_pattern", (), "ha:*"),
    ("height", (), "pm:height"),
    ("height_channel", (), "pm:events:height"),
    ("nodes", (), "pm:nodes"),
    ("version", (), "pm:version"),
    ("reference_session", (S, SID), "ha:miner:sessions:pokt1s:ab12"),
    ("reference_session_index", (S,), "ha:miner:sessions:pokt1s:index"),
    ("reference_session_state", (S, "active"), "ha:miner:sessions:pokt1s:state:active"),
    ("smst", (S, SID, "nodes"), "ha:smst:pokt1s:ab12:nodes"),
    ("smst", (S, SID, "live_root"), "ha:smst:pokt1s:ab12:live_root"),
    ("dedup", (SID,), "ha:miner:dedup:session:ab12"),
    ("miner_claim", (S,), "ha:miner:claim:pokt1s"),
    ("miner_active", (), "ha:miner:active"),
    ("miner_instance", ("miner-a-1",), "ha:miner:instance:miner-a-1"),
    ("global_leader", (), "ha:miner:global_leader"),
    ("rebroadcast", ("claim", S, 20), "ha:miner:rebroadcast:{claim}:pokt1s:20"),
    ("rebroadcast_index", ("proof",), "ha:miner:rebroadcast:{proof}:index"),
    ("submission", (S, 20, SID), "ha:tx:track:pokt1s:20:ab12"),
    ("submission_pattern", (S,), "ha:tx:track:pokt1s:*"),
    ("submission_pattern", (), "ha:tx:track:*:*"),
    ("supplier", (S,), "ha:supplier:pokt1s"),
    ("supplier_pattern", (), "ha:supplier:*"),
    ("registered_supplier", (S,), "ha:suppliers:pokt1s"),
    ("registered_suppliers", (), "ha:suppliers:index"),
    ("supplier_update_channel", (), "ha:events:supplier_update"),
    ("service_factor", (), "ha:service_factor:default"),
    ("service_factor", ("svc1",), "ha:service_factor:service:svc1"),
    ("cache_pattern", (), "ha:cache:*"),
    ("application", ("k1",), "ha:cache:application:k1"),
    ("service", ("svc1",), "ha:cache:service:svc1"),
    ("account", ("k1",), "ha:cache:account:k1"),
    ("shared_params", (), "ha:cache:shared_params"),
    ("proof_params", (), "ha:cache:proof_params"),
    ("session_params", (), "ha:cache:session_params"),
    ("supplier_params", (), "ha:cache:params:supplier"),
    ("shared_params_at", (101,), "ha:cache:params:shared:101"),
    ("cached_session", ("app", "svc1", 101), "ha:cache:session:app:svc1:101"),
    ("cached_session_by_id", (SID,), "ha:cache:session:id:ab12"),
    ("session_validation", ("app", "svc1", 101), "ha:cache:session:validation:app:svc1:101"),
    ("session_rewardable", (SID,), "ha:cache:session:rewardable:ab12"),
    ("known", ("applications",), "ha:cache:known:applications"),
    ("cache_lock", ("application", "k1"), "ha:cache:lock:application:k1"),
    ("cache_lock", ("proof_params",), "ha:cache:lock:proof_params"),
    ("cache_lock", ("params", "shared:101"), "ha:cache:lock:params:shared:101"),
    ("invalidation_channel", ("supplier",), "ha:events:cache:supplier:invalidate"),
    ("invalidation_channel", ("service_factor",), "ha:events:cache:service_factor:invalidate"),
    ("supplier_params_channel", (), "ha:events:cache:invalidate:supplier_params"),
    ("params_channel", (), "ha:events:invalidate:params"),
    ("rewardable_channel", (), "ha:events:session:rewardable"),
    ("blocks_channel", (), "ha:events:blocks"),
    ("meter_meta", (SID, S), "ha:meter:ab12:pokt1s:meta"),
    ("meter_consumed", (SID, S), "ha:meter:ab12:pokt1s:consumed"),
    ("meter_active_sessions", (), "ha:meter:active_sessions"),
    ("meter_cleanup_channel", (), "ha:meter:cleanup"),
    ("simulation_replay", ("deadbeef",), "ha:sim:replay:deadbeef"),
    ("legacy_params_pattern", (), "ha:params:*"),
    ("legacy_app_stake", ("app1",), "ha:app_stake:app1"),
    ("legacy_compute_units", ("svc1",), "ha:service:svc1:compute_units"),
]


@pytest.mark.parametrize(("name", "arguments", "expected"), GOLDEN)
def test_golden_strings(name: str, arguments: tuple[object, ...], expected: object) -> None:
    assert getattr(Keys(), name)(*arguments) == expected


def test_every_builder_has_a_golden_string() -> None:
    builders = {name for name in dir(Keys) if not name.startswith("_") and callable(getattr(Keys, name))}
    assert builders == {name for name, _, _ in GOLDEN}


def test_each_prefix_is_used_where_the_reference_uses_it() -> None:
    keys = Keys(
        Namespace("b", "c", "e", "s", "m", "su", "me", "p", "g", "o:", "mk"),
    )
    assert keys.relay_stream("S") == "b:s:S"
    assert keys.consumer_group() == "b-g"
    assert keys.lease("S") == "o:{b:s:S}:lease"
    assert keys.application("a") == "b:c:application:a"
    assert keys.invalidation_channel("service") == "b:e:cache:service:invalidate"
    assert keys.supplier_params_channel() == "b:e:c:invalidate:supplier_params"
    assert keys.miner_claim("S") == "b:m:claim:S"
    assert keys.supplier("S") == "b:su:S"
    assert keys.registered_suppliers() == "b:suppliers:index"
    assert keys.meter_active_sessions() == "b:me:active_sessions"
    assert keys.meter_meta("x", "S") == "mk:meter:x:S:meta"
    assert keys.meter_cleanup_channel() == "mk:meter:cleanup"
    assert keys.legacy_params_pattern() == "b:p:*"


def test_empty_prefixes_fall_back_each_on_its_own() -> None:
    assert Namespace(base="", streams=":", own="") == Namespace()
    assert Namespace(streams="", base="x").streams == "relays"


@pytest.mark.parametrize("own", ["ha:", "ha:pm:", "p{m}", "p m"])
def test_own_prefix_that_would_mix_families_is_refused(own: str) -> None:
    with pytest.raises(NamespaceInvalid):
        Namespace(own=own)


def _slot(key: str) -> int:
    start = key.find("{")
    end = key.find("}", start + 1)
    return binascii.crc_hqx((key[start + 1 : end] if 0 <= start < end - 1 else key).encode(), 0) % 16384


def test_all_keys_of_a_supplier_share_the_slot_of_its_stream() -> None:
    keys = Keys()
    slot = _slot(keys.relay_stream(S))
    per_supplier = [
        getattr(keys, name)(*arguments)
        for name, arguments, expected in GOLDEN
        if isinstance(expected, str) and T in expected
    ]
    assert len(per_supplier) > 12
    assert {_slot(key) for key in per_supplier} == {slot}
