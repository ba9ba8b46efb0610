"""Checks of chain_live.json and chain_live2.json: sessions recorded on a real node, from relays to settlement.

Everything a supplier computes is computed again: session, windows, relays with both signatures, roots, the
draw, proofs, and every transaction byte (`lifecycle_transactions`).
"""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf.message import Message

from pocket_protocol.address import address_of
from pocket_protocol.closest_proof import proof_path, verify_strict
from pocket_protocol.pb.pocket.proof_pb2 import (
    Claim,
    ClaimProofStatus,
    QueryAllClaimsResponse,
    QueryGetClaimResponse,
)
from pocket_protocol.pb.pocket.service_pb2 import Relay
from pocket_protocol.pb.pocket.session_pb2 import QueryGetSessionResponse
from pocket_protocol.pb.pocket.shared_pb2 import QueryParamsResponse
from pocket_protocol.proof_requirement import draw
from pocket_protocol.relay import (
    mined_relay,
    relay_hash,
    signable_request,
    signable_response,
    validate_request,
    validate_response,
)
from pocket_protocol.ring import verify_ring
from pocket_protocol.ring_members import expected_addresses, expected_keys
from pocket_protocol.session import session_id_of, session_id_preimage, session_number
from pocket_protocol.shared_params import SharedParams
from pocket_protocol.signer import verify as verify_signature
from pocket_protocol.supplier_selection import Candidacy, select_suppliers
from pocket_protocol.types import BlockHash, Height, SessionId
from pocket_protocol.windows import Windows
from pocket_protocol.wire import decode, encode
from relay_cli.conformance.chain_economics import _renderings as float_renderings
from relay_cli.conformance.chain_sessions import _heights as session_heights
from relay_cli.conformance.check import Case, Context, NotApplicable, VectorFile, attempt
from relay_cli.conformance.lifecycle_transactions import check_steps, check_tx_results
from relay_cli.conformance.recorded_session import (
    Document,
    RecordedTree,
    account_keys,
    session_header,
    session_of,
    trees_of,
)
from relay_cli.conformance.shared_curve import shared_curve


def _params(document: Document) -> SharedParams:
    return SharedParams(**document["shared_params"])


def _windows(document: Document) -> Windows:
    return Windows.of(_params(document), document["session_header"]["session_end_block_height"])


def _seed_hash(document: Document) -> BlockHash:
    return BlockHash(bytes.fromhex(document["proof_seed_block_hash_hex"]))


def _proof_path(document: Document) -> bytes:
    return proof_path(_seed_hash(document), SessionId(document["session_header"]["session_id"]))


def _recode(message_type: type[Message], encoded: str) -> str:
    return attempt(lambda: encode(decode(message_type, bytes.fromhex(encoded))).hex())


# --- session and windows ------------------------------------------------------------------------


def _session_preimage(document: Document) -> bytes:
    header = document["session_header"]
    return session_id_preimage(
        header["application_address"],
        header["service_id"],
        header["session_start_block_height"],
        bytes.fromhex(document["block_hash_at_session_start_hex"]),
    )


def check_session_header(stated: Mapping[str, Any], document: Document) -> Iterator[Case]:
    """The header's bytes, its borders on the grid, and, where the start block's hash is given, its id."""
    heights = session_heights(_params(document), stated["session_end_block_height"])
    yield Case("encoded", stated["marshaled_hex"], encode(session_header(stated)).hex())
    yield Case("start", stated["session_start_block_height"], heights["session_start"])
    yield Case("end", stated["session_end_block_height"], heights["session_end"])
    if "block_hash_at_session_start_hex" in document:
        yield Case("session_id", stated["session_id"], session_id_of(_session_preimage(document)))


def check_session_response(encoded: str, document: Document) -> Iterator[Case]:
    """The node's answer is written again as it was read, and is about the session of the file."""
    yield Case("encoded", encoded, _recode(QueryGetSessionResponse, encoded))
    header = document["session_header"]["marshaled_hex"]
    yield Case("header", header, attempt(lambda: encode(session_of(document).header).hex()))


def check_suppliers(addresses: list[str], document: Document) -> Iterator[Case]:
    """The session's suppliers come out in the chain's order."""
    suppliers = session_of(document).suppliers
    candidates = [Candidacy(supplier.operator_address, 1) for supplier in reversed(suppliers)]
    chosen = select_suppliers(_session_preimage(document), candidates, len(addresses))
    yield Case("order", addresses, [supplier.operator_address for supplier in chosen])


def check_windows(stated: Mapping[str, Any], document: Document) -> Iterator[Case]:
    """Each height of the session's life."""
    heights = session_heights(_params(document), document["session_header"]["session_end_block_height"])
    for field, expected in stated.items():
        yield Case(field, expected, heights.get(field))


def check_session_number(number: int, document: Document) -> Iterator[Case]:
    start = document["session_header"]["session_start_block_height"]
    yield Case("number", number, session_number(_params(document), start))


def check_session_length(blocks: int, document: Document) -> Iterator[Case]:
    yield Case("blocks", blocks, _params(document).num_blocks_per_session)


def check_settlement_height(height: int, document: Document) -> Iterator[Case]:
    yield Case("height", height, _windows(document).settlement)


def check_seed_height(height: int, document: Document) -> Iterator[Case]:
    yield Case("height", height, _windows(document).proof_seed)


def check_params_query(answer: Mapping[str, Any], document: Document) -> Iterator[Case]:
    """The shared parameters, as a query at a height over the node's RPC gives them."""
    message = QueryParamsResponse(params=_params(document).to_proto())
    encoded = base64.b64encode(encode(message)).decode()
    yield Case("params", answer["result"]["response"]["value"], encoded)


# --- relays, trees, proofs ----------------------------------------------------------------------


def check_ring(members: list[Mapping[str, str]], document: Document) -> Iterator[Case]:
    """The ring of the session's application, in the order a signer uses."""
    end = Height(document["session_header"]["session_end_block_height"])
    addresses = attempt(lambda: expected_addresses(session_of(document).application, end))
    for position, member in enumerate(members):
        got = addresses[position] if isinstance(addresses, list) and position < len(addresses) else addresses
        yield Case(f"{position}/member", member["address"], got)
        key = bytes.fromhex(member["public_key_hex"])
        yield Case(f"{position}/address", member["address"], attempt(lambda key=key: address_of(key)))


def _judge(relay_bytes: bytes, document: Document) -> str:
    """Return "accepted", or raise the refusal of the request's ring or the response's signature."""
    relay, keys = decode(Relay, relay_bytes), account_keys(document)
    validate_request(relay.req)
    validate_response(relay.res)
    end = Height(relay.req.meta.session_header.session_end_block_height)
    ring = expected_keys(expected_addresses(session_of(document).application, end), keys.get)
    verify_ring(shared_curve(), signable_request(relay.req), relay.req.meta.signature, frozenset(ring))
    supplier_key = keys[relay.req.meta.supplier_operator_address]
    signature = relay.res.meta.supplier_operator_signature
    if not verify_signature(shared_curve(), supplier_key, signable_response(relay.res), signature):
        return "the supplier's signature is wrong"
    return "accepted"


def _mined_again(relay_bytes: bytes) -> str:
    relay = decode(Relay, relay_bytes)
    return mined_relay(relay.req, relay.res).hex()


def check_trees(trees: Mapping[str, Mapping[str, Any]], document: Document) -> Iterator[Case]:
    """Each relay: its bytes, its hash, both signatures; each tree: the root its supplier claimed."""
    for name, stated in trees.items():
        for position, leaf in enumerate(stated["leaves"]):
            relay_bytes = bytes.fromhex(leaf["relay_bytes_hex"])
            prefix = f"{name}/leaf {position}"
            hashed = relay_hash(relay_bytes).hex()
            yield Case(f"{prefix}/relay_hash", leaf["relay_hash_hex"], hashed)
            mined = attempt(lambda data=relay_bytes: _mined_again(data))
            yield Case(f"{prefix}/relay_bytes", leaf["relay_bytes_hex"], mined)
            verdict = attempt(lambda data=relay_bytes: _judge(data, document))
            yield Case(f"{prefix}/signatures", "accepted", verdict)
        yield Case(f"{name}/root", stated["root_hex"], RecordedTree(stated).root().hex())


def check_proof_path(path: str, document: Document) -> Iterator[Case]:
    yield Case("path", path, _proof_path(document).hex())


def check_proof(proof_hex: str, document: Document) -> Iterator[Case]:
    """The first supplier's proof, made from its tree at the session's proof path."""
    tree = trees_of(document)[0]
    proof = tree.prove(_proof_path(document))
    yield Case("proof", proof_hex, proof.to_bytes().hex())
    yield Case("verifies", True, attempt(lambda: verify_strict(proof, tree.root())))


def _claim(tree: RecordedTree, document: Document) -> Claim:
    """Return the claim for a tree as the chain stores it before any proof."""
    header = session_header(document["session_header"])
    return Claim(supplier_operator_address=tree.supplier, session_header=header, root_hash=tree.root())


def check_samples(samples: Mapping[str, Mapping[str, str]], document: Document) -> Iterator[Case]:
    """The number that decides whether a supplier's claim must be proved."""
    for name, stated in samples.items():
        claim = _claim(RecordedTree(document["trees"][name]), document)
        drawn = float_renderings(draw(claim, _seed_hash(document)))
        for field, expected in stated.items():
            yield Case(f"{name}/{field}", expected, drawn.get(field))


# --- queries ------------------------------------------------------------------------------------

_CLAIM_ANSWERS = {
    "Claim_response_hex": QueryGetClaimResponse,
    "AllClaims_by_supplier_response_hex": QueryAllClaimsResponse,
    "AllClaims_by_session_end_after_proofs_hex": QueryAllClaimsResponse,
}


def _claim_cases(name: str, encoded: str, document: Document) -> Iterator[Case]:
    """The answer's bytes, and each claim in it as computed from its supplier's tree."""
    message_type = _CLAIM_ANSWERS[name]
    yield Case(f"{name}/encoded", encoded, _recode(message_type, encoded))
    answer = attempt(lambda: decode(message_type, bytes.fromhex(encoded)))
    if isinstance(answer, str):
        return
    by_supplier = {tree.supplier: tree for tree in trees_of(document)}
    claims = answer.claims if isinstance(answer, QueryAllClaimsResponse) else [answer.claim]
    for claim in claims:
        computed = _claim(by_supplier[claim.supplier_operator_address], document)
        computed.proof_validation_status = claim.proof_validation_status
        yield Case(f"{name}/{claim.supplier_operator_address}", encode(claim).hex(), encode(computed).hex())


def check_queries(queries: Mapping[str, Any], document: Document) -> Iterator[Case]:
    """Claims as the node answers them, before and after the proofs."""
    for name, stated in queries.items():
        if name in _CLAIM_ANSWERS:
            yield from _claim_cases(name, stated, document)
    after = bytes.fromhex(queries["AllClaims_by_session_end_after_proofs_hex"])
    claims = decode(QueryAllClaimsResponse, after).claims
    got = {c.supplier_operator_address: ClaimProofStatus.Name(c.proof_validation_status) for c in claims}
    for supplier, expected in queries["claim_status_after_proofs"].items():
        yield Case(f"status of {supplier}", expected, got.get(supplier))


_BLOCK_RESULTS = NotApplicable(
    "what the chain does in a block; the local chain is held to it by its own tests"
)
_RPC = NotApplicable("documents of the node's RPC; nothing in them is computed by a supplier")
_SIMULATIONS = "a simulation states the chain's answer alone, no bytes to compute"

CHAIN_LIVE2 = VectorFile(
    "chain_live2",
    {
        "description": Context(),
        "shared_params": Context(),
        "proof_seed_block_hash_hex": Context(),
        "block_results_of_settlement_block": _BLOCK_RESULTS,
        "session_header": check_session_header,
        "session_number": check_session_number,
        "session_response_hex": check_session_response,
        "settlement_height": check_settlement_height,
        "windows": check_windows,
        "proof_seed_block_height": check_seed_height,
        "proof_path_hex": check_proof_path,
        "trees": check_trees,
        "steps": check_steps,
        "tx_results_json": check_tx_results,
    },
    not_applicable={"simulate": _SIMULATIONS},
)

CHAIN_LIVE = VectorFile(
    "chain_live",
    {
        **CHAIN_LIVE2.sections,
        "block_hash_at_session_start_hex": Context(),
        "block_results_of_proof_block": _BLOCK_RESULTS,
        "block_json": _RPC,
        "block_json_post": _RPC,
        "block_not_found_json": _RPC,
        "broadcast_tx_sync_json_bad": _RPC,
        "status_json": _RPC,
        "tx_not_found_json": _RPC,
        "abci_query_json": check_params_query,
        "num_blocks_per_session": check_session_length,
        "session_suppliers_in_order": check_suppliers,
        "ring": check_ring,
        "proof_hex": check_proof,
        "proof_sample_values": check_samples,
        "queries": check_queries,
    },
    not_applicable={
        "simulate": _SIMULATIONS,
        "Claim_not_found_error": "a text of the chain, not what a supplier computes",
    },
)
