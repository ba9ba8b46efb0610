"""The reference's submission records: its own, and ours in their likeness."""

from __future__ import annotations

import json
import time
from typing import Any

from pocket_protocol.pb.pocket.session_pb2 import SessionHeader
from tests import recorded
from tests.miners import Mine
from tests.recorded import needs_recordings


def key_of(mine: Mine, header: SessionHeader) -> str:
    return mine.miner.keys.submission(mine.supplier, header.session_end_block_height, header.session_id)


def written(mine: Mine, header: SessionHeader) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(mine.miner.store.client.get(key_of(mine, header)))
    return document


def recorded_documents(dump: str) -> list[dict[str, Any]]:
    entries = recorded.load(f"localnet/redis/{dump}.json").items()
    return [json.loads(entry["value"]) for key, entry in entries if key.startswith("ha:tx:track:")]


def test_a_proved_session(mine: Mine) -> None:
    header = mine.serve(20)
    mine.run_to(23)
    document = written(mine, header)
    assert document["claim_hash"] == mine.text(header, "claimed_root_hash")
    assert document["claim_tx_hash"] == mine.text(header, "claim_tx_hash")
    assert document["proof_tx_hash"] == mine.text(header, "proof_tx_hash")
    assert document["claim_success"] and document["proof_success"] and document["proof_required"]
    assert document["claim_on_chain_outcome"] == document["proof_on_chain_outcome"] == "on_chain_found"
    assert (document["num_relays"], document["compute_units"]) == (20, 20_000)
    assert document["claim_inclusion_height"] > document["claim_submit_height"] >= 12
    assert abs(document["claim_submit_timestamp"] - time.time()) < 60
    assert 0 < mine.miner.store.client.ttl(key_of(mine, header)) <= 86_400
    known = mine.miner.store.client.smembers(mine.miner.keys.known("applications"))
    assert known == {header.application_address.encode()}


@needs_recordings
def test_its_fields_are_the_reference_s_in_its_order(mine: Mine) -> None:
    proved, claimed = mine.serve(20), mine.serve(2, "app2", "develop-rest")
    mine.run_to(14)
    theirs = [one for one in recorded_documents("2x-height-704") if "proof_hash" not in one]
    assert list(written(mine, claimed)) == list(theirs[0])
    mine.run_to(23)
    theirs = [one for one in recorded_documents("2x-height-710") if "proof_hash" in one]
    ours = written(mine, proved)
    assert list(ours) == list(theirs[0])
    assert [type(value) for value in ours.values()] == [type(value) for value in theirs[0].values()]


def test_a_session_that_was_not_claimed(mine: Mine) -> None:
    header = mine.serve(20)
    mine.to(25)
    mine.step()
    document = written(mine, header)
    assert document["claim_on_chain_outcome"] == "on_chain_missing" and not document["claim_success"]
