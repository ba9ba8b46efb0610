"""docs/errors.md: what a gateway is told when a relay is refused, from the table that tells it."""

from __future__ import annotations

from collections.abc import Iterator

from pocket_protocol.errors import Malformed, PocketError, Refused, Unavailable
from relay_cli.pages.markdown import code, table
from relayer_web.refusals import MAX_TEXT, ROWS, Row

TEXT = f"""# Refusals

Written from the code by `python -m relay_cli.pages`.

A served relay is answered with status 200 and a signed `RelayResponse`, whatever the service itself said. Every other
relay gets one of these: JSON `{{"error": "<text>"}}`, unsigned, at most {MAX_TEXT} characters; where the last column
says so, `"service"` stands beside it and the same relay may succeed at another relayer or a little later. gRPC answers
carry the code in the third column.

**No refused relay is charged or mined.** What was reserved of the session's budget is given back. Two exceptions, both
counted: a reservation whose outcome the store did not tell stays charged (the session gets less, never more), and a relay
refused with `publish_failed` may stand in the stream all the same (`ha_relayer_relays_lost_total`, reason `unknown`).

`reason` is the label of `ha_relayer_relays_rejected_total`; relays without a healthy backend are counted in
`ha_relayer_fast_fails_total` instead.
"""

CAUSES_TEXT = """## Why a relay did not verify

Status 403, `relay validation failed: <text>`; `reason` is the label of `ha_relayer_validation_failures_total`.
"""

GRPC_NAMES = {
    3: "INVALID_ARGUMENT",
    4: "DEADLINE_EXCEEDED",
    5: "NOT_FOUND",
    6: "ALREADY_EXISTS",
    7: "PERMISSION_DENIED",
    8: "RESOURCE_EXHAUSTED",
    13: "INTERNAL",
    14: "UNAVAILABLE",
}
ROOTS = (Malformed, Refused, Unavailable, PocketError)
# Leaves that verification meets are in these modules, beside some that it does not; two have no class of their own.
CAUSE_MODULES = (
    *("pocket_protocol.ring", "pocket_protocol.ring_members", "pocket_protocol.relay"),
    *("pocket_protocol.session", "pocket_protocol.session_header", "pocket_protocol.windows"),
    *("pocket_chain.facts", "pocket_chain.node_errors"),
)
NO_CAUSES = (
    "cached_account_key",
    "cannot_sign_ring",
    "invalid_relay_response",
    "not_its_own",
    "unusable_clock",
)
OTHER_CAUSES = (
    ("`supplier_not_ours`", "supplier <supplier> is not allowed by this relayer"),
    ("`supplier_not_in_session`", "supplier <supplier> not found in session"),
)


class _Example:
    """Stands for an error: every value of it is its name."""

    def __init__(self, kind: type[PocketError]) -> None:
        self.summary = kind.summary

    def __getattr__(self, name: str) -> str:
        return f"<{name}>"


def page() -> str:
    """The whole page."""
    heading = ("reason", "status", "gRPC", "text", "when", "service named")
    rows = [_row(kind, row) for kind, row in ROWS.items() if kind not in ROOTS]
    rest = [_row(kind, row) for kind, row in ROWS.items() if kind in ROOTS]
    causes = {(code(kind.reason), kind.summary) for kind in _causes()} | set(OTHER_CAUSES)
    return "\n".join(
        (
            TEXT,
            table(heading, rows),
            "What has no row of its own:\n",
            table(heading, rest),
            CAUSES_TEXT,
            table(("reason", "text"), sorted(causes)),
        )
    )


def _row(kind: type[PocketError], row: Row) -> tuple[str, ...]:
    text = row.text if isinstance(row.text, str) else row.text(_Example(kind))
    status = str(row.status) if row.status else "the backend's"
    when = (kind.__doc__ or "").partition("\n")[0]
    return (
        code(row.reason),
        status,
        GRPC_NAMES[row.grpc_code],
        code(text),
        when,
        "yes" if row.fast_fail else "",
    )


def _causes() -> Iterator[type[PocketError]]:
    """The leaves that verification meets."""
    for kind in _below(Malformed, Refused):
        known = "reason" in vars(kind) and kind.reason not in NO_CAUSES
        if known and kind.__module__ in CAUSE_MODULES and kind not in ROWS:
            yield kind


def _below(*kinds: type[PocketError]) -> Iterator[type[PocketError]]:
    for kind in kinds:
        for child in kind.__subclasses__():
            yield child
            yield from _below(child)
