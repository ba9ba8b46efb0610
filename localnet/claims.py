"""MsgCreateClaim (spec/chain.md §5.1) and what a stored claim is worth."""

from __future__ import annotations

from dataclasses import dataclass

from localnet import registered_errors as errors
from localnet.bank import coin
from localnet.context import Context
from localnet.events import typed
from localnet.services import compute_units_per_relay_at, difficulty_at
from localnet.sessions import NoSession, hydrate
from localnet.state import CLAIM
from pocket_protocol import claim_price
from pocket_protocol.pb.pocket import proof_pb2, session_pb2
from pocket_protocol.proof_requirement import ProofParams, ProofRequirement, proof_requirement
from pocket_protocol.smst import Root
from pocket_protocol.windows import Windows

_UINT64 = 2**64


@dataclass(frozen=True, slots=True)
class Worth:
    """The numbers of a claim that events and settlement use."""

    root: Root
    upokt: int
    estimated_compute_units: int
    estimated_relays: int


def worth(context: Context, claim: proof_pb2.Claim) -> Worth:
    """Price a claim at its session's start. Raises a leaf of the error tree when that cannot be done."""
    start = claim.session_header.session_start_block_height
    target = difficulty_at(context, claim.session_header.service_id, start).target_hash
    root = Root.from_bytes(claim.root_hash)
    return Worth(
        root,
        claim_price.claimed_upokt(root, target, context.shared_at(start)),
        claim_price.estimated_compute_units(root, target),
        claim_price.estimated_relays(root, target),
    )


def requirement(context: Context, claim: proof_pb2.Claim, upokt: int) -> ProofRequirement:
    """Return whether the stored claim must be proved, by the live proof parameters (spec/chain.md §5.4)."""
    end = claim.session_header.session_end_block_height
    seed_height = Windows.of(context.shared_at(end), end).proof_seed
    params = ProofParams.from_proto(context.params("proof"))
    return proof_requirement(params, claim, upokt, context.chain.block_hash(seed_height))


def session_of(
    context: Context, header: session_pb2.SessionHeader, supplier: str
) -> session_pb2.SessionHeader:
    """Return the chain's header of the session that `header` starts in (§5.1 check 2).

    Only the id is compared. Raises ValueError with the chain's text.
    """
    try:
        session = hydrate(
            context, header.application_address, header.service_id, header.session_start_block_height
        )
    except NoSession as error:
        raise ValueError(str(error)) from error
    if session.session_id != header.session_id:
        raise ValueError(
            errors.PROOF_INVALID_SESSION_ID.wrap(
                "session ID does not match onchain session ID; "
                f'expected "{session.session_id}", got "{header.session_id}"'
            )
        )
    if supplier not in {chosen.operator_address for chosen in session.suppliers}:
        raise ValueError(
            errors.PROOF_SUPPLIER_NOT_FOUND.wrap(
                f'supplier operator address "{supplier}" not found in session ID "{session.session_id}"'
            )
        )
    return session.header


def _check_window(context: Context, end: int) -> None:
    windows = Windows.of(context.shared_at(end), end)
    if context.height < windows.claim_open:
        detail = (
            f"current block height ({context.height}) is less than the session's "
            f"earliest claim commit height ({windows.claim_open})"
        )
    elif context.height > windows.claim_close:
        detail = (
            f"current block height ({context.height}) is greater than session "
            f"claim window close height ({windows.claim_close})"
        )
    else:
        return
    raise errors.failed_precondition(errors.PROOF_CLAIM_OUTSIDE_WINDOW.wrap(detail))


def _check_compute_units(context: Context, header: session_pb2.SessionHeader, root: Root) -> None:
    service_id = header.service_id
    units = compute_units_per_relay_at(context, service_id, header.session_start_block_height)
    if units is None:
        raise errors.not_found(errors.PROOF_SERVICE_NOT_FOUND.wrap(f"service ID: {service_id}"))
    if root.sum != root.count * units % _UINT64:
        detail = (
            f"claim compute units: {root.sum} is not equal to number of relays {root.count} * "
            f"compute units per relay {units} for service {service_id}"
        )
        raise errors.invalid_argument(errors.PROOF_COMPUTE_UNITS_MISMATCH.wrap(detail))


def create_claim(context: Context, message: proof_pb2.MsgCreateClaim) -> proof_pb2.MsgCreateClaimResponse:
    """Store or overwrite a claim that passed its basic checks. Raises `StatusRefused` with the chain's status and text."""
    root = Root.from_bytes(message.root_hash)
    header, supplier = message.session_header, message.supplier_operator_address
    try:
        session_of(context, header, supplier)
    except ValueError as error:
        raise errors.invalid_argument(str(error)) from error
    _check_window(context, header.session_end_block_height)
    _check_compute_units(context, header, root)
    claim = proof_pb2.Claim(
        supplier_operator_address=supplier, session_header=header, root_hash=message.root_hash
    )
    key = (header.session_id, supplier)
    known = context.state.get(CLAIM, key) is not None
    context.state.put(CLAIM, key, claim)
    value = worth(context, claim)
    event_type = proof_pb2.EventClaimUpdated if known else proof_pb2.EventClaimCreated
    # The chain reports count * compute units per relay here, not the difficulty-scaled number.
    fields = event_fields(claim, value) | {"num_estimated_compute_units": root.sum}
    context.emit(typed(event_type(**fields)))
    return proof_pb2.MsgCreateClaimResponse()


def event_fields(claim: proof_pb2.Claim, value: Worth) -> dict[str, object]:
    """Return the fields that all events about a claim share."""
    header = claim.session_header
    return {
        "num_relays": value.root.count,
        "num_claimed_compute_units": value.root.sum,
        "num_estimated_compute_units": value.estimated_compute_units,
        "num_estimated_relays": value.estimated_relays,
        "claimed_upokt": coin(value.upokt),
        "service_id": header.service_id,
        "application_address": header.application_address,
        "session_end_block_height": header.session_end_block_height,
        "claim_proof_status_int": claim.proof_validation_status,
        "supplier_operator_address": claim.supplier_operator_address,
    }
