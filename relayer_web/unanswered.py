"""Relays that were served and whose answer could not be delivered; they stand in the stream all the same (decisions F)."""

from __future__ import annotations

from pocket_protocol.errors import PocketError
from relayer_web.admission import parse
from relayer_web.inbound import Inbound
from relayer_web.runtime import Runtime


def count_unanswered(inbound: Inbound, runtime: Runtime) -> None:
    """Count a relay that was served to a client that was gone."""
    metrics = runtime.metrics
    try:
        service_id = parse(inbound)[0].meta.session_header.service_id
    except PocketError:
        service_id = ""
    metrics.count("relays_unanswered", metrics.service(service_id))
