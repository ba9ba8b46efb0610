"""What became of one relay, as its client sees it (spec/relayer.md §8.3)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from pocket_protocol.envelope import HttpResponse, decode_http_response
from pocket_protocol.errors import Malformed, Refused, Unavailable

NO_HTTP = 0  # status of an answer that is a message of its own, not an HTTP response
_SHOWN_CHARACTERS = 200


class RelayRefused(Refused):
    """The relayer answered with an HTTP error."""

    reason = "relay_refused"
    summary = "the relayer refused"


class RelayUndelivered(Unavailable):
    """No complete HTTP answer came back."""

    reason = "relay_undelivered"
    summary = "no answer from the relayer"


class AnswerInvalid(Malformed):
    """An answer of the relayer that does not prove that the supplier gave it."""

    reason = "answer_invalid"
    summary = "the relayer's answer is invalid"


class BackendError(Refused):
    """A sound answer of the supplier whose content is an error of the service behind it."""

    reason = "backend_error"
    summary = "the service answered with an error"


@dataclass(frozen=True, slots=True)
class RelayTimes:
    """Seconds one relay took: making and signing it, the network, verifying the answer."""

    build_s: float
    network_s: float
    verify_s: float

    @property
    def total_s(self) -> float:
        return self.build_s + self.network_s + self.verify_s


@dataclass(frozen=True, slots=True)
class RelayOutcome:
    """A verified answer: its supplier, session and that session's last height, times, size, the HTTP answer inside."""

    supplier: str
    session_id: str
    session_end: int
    times: RelayTimes
    size_bytes: int
    payload: bytes
    response: HttpResponse


def read_payload(payload: bytes) -> HttpResponse:
    """Return the HTTP answer in a relay response's payload. Raises `AnswerInvalid`."""
    try:
        return decode_http_response(payload)
    except Malformed as error:
        raise AnswerInvalid(f"payload is no HTTP response: {error}") from error


def check_service_answer(response: HttpResponse) -> None:
    """Raise `BackendError` for an HTTP status of 400 and above, and for a JSON-RPC error."""
    if response.status_code >= 400:
        text = response.body[:_SHOWN_CHARACTERS].decode("utf-8", "replace")
        raise BackendError(f"backend HTTP {response.status_code}: {text}")
    for document in _documents(response.body):
        error = document.get("error")
        if isinstance(error, Mapping):
            message = str(error.get("message", ""))[:_SHOWN_CHARACTERS]
            raise BackendError(f"JSON-RPC error {error.get('code')}: {message}")


def _documents(body: bytes) -> list[Mapping[str, object]]:
    try:
        decoded = json.loads(body)
    except (ValueError, RecursionError):
        return []
    listed = decoded if isinstance(decoded, list) else [decoded]
    return [document for document in listed if isinstance(document, Mapping)]
