"""Session hydration: header, application and suppliers of a session (spec/chain.md §3.3, §3.4)."""

from __future__ import annotations

from localnet import registered_errors as errors
from localnet.context import Context
from localnet.state import APPLICATION, SUPPLIER
from pocket_protocol import session
from pocket_protocol.errors import Refused
from pocket_protocol.pb.pocket import application_pb2, session_pb2, shared_pb2
from pocket_protocol.supplier_selection import NoSuppliers, candidates_at, select_suppliers


class NoSession(Refused):
    """A session the chain cannot hydrate; the text is the session module's."""

    reason = "no_session"
    summary = "no session"


def _is_active(activation: int, deactivation: int, height: int) -> bool:
    return activation <= height and (deactivation == 0 or deactivation > height)


def staked_services(application: application_pb2.Application, height: int) -> set[str]:
    """Return the ids of the services `application` is staked for at `height`."""
    if not application.service_config_history:
        return {config.service_id for config in application.service_configs}
    return {
        update.service.service_id
        for update in application.service_config_history
        if _is_active(update.activation_height, update.deactivation_height, height)
    }


def _is_application_active(application: application_pb2.Application, end: int) -> bool:
    unstake = application.unstake_session_end_height
    transfer = (
        application.pending_transfer.session_end_height if application.HasField("pending_transfer") else 0
    )
    return all(limit == 0 or end <= limit for limit in (unstake, transfer))


def _suppliers(context: Context, service_id: str, height: int, preimage: bytes) -> list[shared_pb2.Supplier]:
    offers = context.chain.candidates.of(context.state.table(SUPPLIER), service_id)
    by_candidacy = {offer.candidacy: offer for offer in offers}
    candidates = candidates_at(by_candidacy, height)
    number = context.session_params_at(height).num_suppliers_per_session
    return [by_candidacy[chosen].shown() for chosen in select_suppliers(preimage, candidates, number)]


def hydrate(context: Context, application_address: str, service_id: str, height: int) -> session_pb2.Session:
    """Return the session that `height` is in. Raises `NoSession` with the chain's text."""
    if height > context.height:
        raise NoSession(
            errors.SESSION_HYDRATION.wrap(
                f"block height {height} is ahead of the last committed block height {context.height}"
            )
        )
    params = context.shared_at(height)
    start = session.session_start(params, height)
    preimage = session.session_id_preimage(
        application_address, service_id, start, context.chain.block_hash(start)
    )
    application = context.state.get(APPLICATION, application_address)
    if application is None:
        text = f'could not find app with address "{application_address}" at height {start}'
        raise NoSession(errors.SESSION_APP_NOT_FOUND.wrap(text))
    end = session.session_end(params, height)
    if not _is_application_active(application, end):
        raise NoSession(
            errors.SESSION_APP_NOT_ACTIVE.wrap(f'application "{application_address}" is not active')
        )
    if service_id not in staked_services(application, height):
        text = f'application "{application_address}" not staked for service ID "{service_id}"'
        raise NoSession(errors.SESSION_APP_NOT_STAKED.wrap(text))
    try:
        suppliers = _suppliers(context, service_id, height, preimage)
    except NoSuppliers as error:
        text = f"could not find suppliers for service {service_id} at height {start}"
        raise NoSession(errors.SESSION_SUPPLIERS_NOT_FOUND.wrap(text)) from error
    known = (application_address, service_id, int(start))
    session_id = context.chain.fixture.session_ids.get(known) or session.session_id_of(preimage)
    header = session_pb2.SessionHeader(
        application_address=application_address,
        service_id=service_id,
        session_id=session_id,
        session_start_block_height=start,
        session_end_block_height=end,
    )
    return session_pb2.Session(
        header=header,
        session_id=session_id,
        session_number=session.session_number(params, height),
        num_blocks_per_session=params.num_blocks_per_session,
        application=application,
        suppliers=suppliers,
    )
