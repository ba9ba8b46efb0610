"""The page a person sees at the admin address."""

from __future__ import annotations

from html import escape
from typing import Any

_STYLE = (
    "body{font:15px system-ui;margin:2em;max-width:70em}td,th{padding:.2em .9em .2em 0;text-align:left}"
    "code{background:#eee;padding:0 .3em}h2{margin-top:1.4em}"
)


def _table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> str:
    header = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{header}</tr>{body}</table>"


def render(status: dict[str, Any], ledger: dict[str, Any], routes: dict[str, str]) -> str:
    """Return the page for what `/status` and `/ledger` say."""
    recent = [*reversed(ledger["outcomes"]["settled"] + ledger["outcomes"]["expired"])][:20]
    settled = [
        (
            entry["height"],
            "expired" if "expiration_reason" in entry else "settled",
            entry["service_id"],
            entry["supplier_operator_address"],
            entry["num_relays"],
            entry.get("settled_upokt", "-"),
            entry.get("expiration_reason", ""),
        )
        for entry in recent
    ]
    position = [(key, value) for key, value in status.items() if not isinstance(value, dict | list)]
    faults = list(status["faults"].items())
    calls = list(routes.items())
    sections = [
        "<h1>Local Pocket chain</h1>",
        _table(("what", "value"), position),
        "<h2>Totals</h2>",
        _table(("what", "value"), list(ledger["totals"].items())),
        "<h2>Latest settlements</h2>",
        _table(("block", "outcome", "service", "supplier", "relays", "paid", "why"), settled),
        "<h2>Faults</h2>",
        _table(("fault", "value"), faults),
        "<h2>Calls</h2>",
        _table(("call", "what it does"), calls),
    ]
    head = f"<meta http-equiv=refresh content=3><title>localnet</title><style>{_STYLE}</style>"
    return f"<!doctype html><html><head>{head}</head><body>{''.join(sections)}</body></html>"
