"""Genesis files: the default chain, its key files, errors that say where, and a real genesis.json."""

from __future__ import annotations

import copy
import json
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from localnet.chain import LocalChain
from localnet.default_genesis import Options, default_chain, write_default_chain
from localnet.fixture import Fixture, FixtureInvalid
from localnet.genesis import GenesisInvalid, load_genesis, read_genesis
from localnet.sessions import hydrate
from pocket_protocol.address import address_of
from pocket_protocol.signer import PrivateKey
from tests.recorded import needs_recordings
from tests.unit.localnet.chains import CURVE
from tests.unit.localnet.recordings import recorded_genesis


def test_the_default_chain_is_what_decisions_ask_for() -> None:
    plan = default_chain(CURVE)
    chain = LocalChain(read_genesis(plan.document, CURVE), CURVE)
    chain.step()
    context = chain.at()
    shared = context.shared
    assert (shared.num_blocks_per_session, shared.grace_period_end_offset_blocks) == (10, 1)
    assert (shared.claim_window_open_offset_blocks, shared.claim_window_close_offset_blocks) == (1, 8)
    assert (shared.proof_window_open_offset_blocks, shared.proof_window_close_offset_blocks) == (0, 8)
    assert context.params("proof").proof_request_probability == 0
    threshold = int(context.params("proof").proof_requirement_threshold.amount)
    for name, service in (("app1", "develop-http"), ("app2", "develop-rest")):
        session = hydrate(context, plan.addresses[name], service, 1)
        assert {s.operator_address for s in session.suppliers} == {
            plan.addresses["supplier1"],
            plan.addresses["supplier2"],
        }
        assert list(session.application.delegatee_gateway_addresses) == [plan.addresses["gateway1"]]
        meter = int(session.application.stake.amount) // 15 // 3
        assert meter > 100_000 * 1_000_000  # a million relays of the dearer service
    assert 10 * 100 * 100 < threshold < 1000 * 100 * 100  # of a hundred relays in each


def test_hashes_and_ids_follow_from_the_state() -> None:
    def first_hashes(options: Options) -> list[bytes]:
        chain = LocalChain(
            read_genesis(default_chain(CURVE, options).document, CURVE), CURVE, now_ns=lambda: 10**18
        )
        chain.step(3)
        return [chain.block_hash(height) for height in (1, 2, 3)]

    assert first_hashes(Options()) == first_hashes(Options())
    assert first_hashes(Options())[2] != first_hashes(Options(chain_id="other"))[2]


def test_files_are_written_and_readable(tmp_path: Path) -> None:
    plan = default_chain(CURVE, Options(num_suppliers=3))
    write_default_chain(tmp_path / "chain", plan)
    genesis = load_genesis(tmp_path / "chain" / "genesis.yaml", CURVE)
    assert len(genesis.suppliers) == 3
    keys_file = tmp_path / "chain" / "supplier-keys.yaml"
    assert stat.S_IMODE(keys_file.stat().st_mode) == 0o600
    keys = [PrivateKey.from_hex(text) for text in yaml.safe_load(keys_file.read_text())["keys"]]
    assert [address_of(key.public_key(CURVE)) for key in keys] == [
        plan.addresses[f"supplier{n}"] for n in (1, 2, 3)
    ]
    client = yaml.safe_load((tmp_path / "chain" / "client-keys.yaml").read_text())
    assert (len(client["applications"]), len(client["gateway"])) == (2, 1)
    secrets = {key.reveal().hex() for key in plan.keys.values()}
    assert not any(secret in (tmp_path / "chain" / "genesis.yaml").read_text() for secret in secrets)


def test_given_keys_are_used() -> None:
    key = PrivateKey(b"\7" * 32)
    plan = default_chain(CURVE, keys={"supplier1": key})
    assert plan.addresses["supplier1"] == address_of(key.public_key(CURVE))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda d: d["params"]["shared"].update(no_such=1), "params.shared.no_such: there is no such key"),
        (lambda d: d["params"].update(nothing={}), "params.nothing: there is no such module"),
        (lambda d: d["params"]["shared"].update(num_blocks_per_session=0), "NumBlocksPerSession"),
        (lambda d: d["params"]["shared"].update(num_blocks_per_session="ten"), "params.shared"),
        (
            lambda d: d["applications"][0].update(account="nobody"),
            "applications[0]: 'nobody' is no account's name",
        ),
        (lambda d: d["applications"][0].update(stake_upokt=-1), "applications[0]: -1 is not a whole number"),
        (lambda d: d["suppliers"][1].pop("operator"), "suppliers[1]: None is no account's name"),
        (lambda d: d.update(suppliers="all"), "suppliers: a list of mappings is needed"),
        (lambda d: d["accounts"][0].update(private_key="xyz"), "accounts[0]: not a private key"),
        (lambda d: d["validator"].update(commission="much"), "genesis cannot be used"),
    ],
)
def test_errors_say_where(change: Callable[[dict[str, Any]], object], text: str) -> None:
    document = copy.deepcopy(default_chain(CURVE).document)
    change(document)
    with pytest.raises(GenesisInvalid) as refused:
        read_genesis(document, CURVE)
    assert text in str(refused.value)


@pytest.mark.parametrize(
    "content",
    ["", "[1, 2]", "a: b: c", "\x00", "[" * 5_000, "!!timestamp x: 1", "a: !!int x", "a: !!bool x"],
)
def test_files_that_are_no_genesis(tmp_path: Path, content: str) -> None:
    path = tmp_path / "genesis.yaml"
    path.write_text(content)
    with pytest.raises(GenesisInvalid):
        load_genesis(path, CURVE)


@needs_recordings
def test_a_real_genesis(tmp_path: Path) -> None:
    path = tmp_path / "genesis.json"
    path.write_text(json.dumps(recorded_genesis()))
    genesis = load_genesis(path, CURVE)
    chain = LocalChain(genesis, CURVE)
    chain.step()
    assert (len(genesis.suppliers), len(genesis.applications), len(genesis.services)) == (3, 7, 6)
    assert chain.validator.consensus_address == "1CC11D16F106427D16DE0700241F00C95D7C8746"
    supply = int(recorded_genesis()["app_state"]["bank"]["supply"][0]["amount"])
    assert chain.at().state.get("supply", "") == supply
    path.write_text('{"app_state": {}, "chain_id": "x"}')
    with pytest.raises(GenesisInvalid):
        load_genesis(path, CURVE)


def test_fixtures(tmp_path: Path) -> None:
    path = tmp_path / "fixture.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "blocks": [{"height": 5, "hash": "ab" * 32, "time_ns": 7}],
                "sessions": [{"application": "a", "service": "s", "start": 1, "session_id": "id"}],
            }
        )
    )
    fixture = Fixture.load(path)
    assert fixture.block_hashes == {5: b"\xab" * 32} and fixture.block_times_ns == {5: 7}
    assert fixture.session_ids == {("a", "s", 1): "id"}
    for broken in (
        "[]",
        "blocks: [{height: 1, hash: zz}]",
        "blocks: [{height: 1, hash: 'ab'}]",
        "blocks: [{}]",
    ):
        path.write_text(broken)
        with pytest.raises(FixtureInvalid):
            Fixture.load(path)
