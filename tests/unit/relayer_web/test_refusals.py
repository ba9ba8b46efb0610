"""The table of refusals is total over the error tree, and each answer is bounded, valid JSON."""

from __future__ import annotations

import importlib
import json
import pkgutil

import pytest
from hypothesis import given
from hypothesis import strategies as st

import pocket_chain
import pocket_protocol
import relay_store
import relayer_web
from pocket_protocol.errors import Malformed, PocketError, Refused, Unavailable
from relayer_web import refusals
from relayer_web.admission import UnknownService
from relayer_web.refusals import MAX_TEXT, ROWS, refusal_answer, row_of, status_of, text_of

SHELLS = ("gunicorn_conf", "wsgi", "worker")  # imported by gunicorn only
ROOTS = {PocketError, Malformed, Refused, Unavailable}
VALUES = {
    "supplier": "pokt1s",
    "status": "active",
    "service_id": "svc",
    "cause_reason": "x",
    "configured": True,
}


def import_all() -> None:
    for package in (pocket_protocol, relay_store, pocket_chain, relayer_web):
        for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
            if ".pb" not in module.name and not module.name.endswith(SHELLS):
                importlib.import_module(module.name)


def tree(kind: type[PocketError]) -> list[type[PocketError]]:
    return [kind, *(leaf for child in kind.__subclasses__() for leaf in tree(child))]


import_all()
LEAVES = sorted(
    {leaf for leaf in tree(PocketError) if leaf.__module__.split(".")[0] != "tests"} - ROOTS, key=repr
)


def instance(kind: type[PocketError]) -> PocketError:
    error = kind.__new__(kind)
    PocketError.__init__(error, "detail", **VALUES)
    if kind is refusals.BackendStatus:
        error.status = 503  # type: ignore[attr-defined]
    return error


def test_the_tree_is_there() -> None:
    assert len(LEAVES) > 60


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
def test_every_leaf_has_an_answer(kind: type[PocketError]) -> None:
    error = instance(kind)
    row = row_of(kind)
    assert row.reason in refusals.REASONS
    assert row.grpc_code in range(1, 17)
    answer = refusal_answer(error, "svc")
    assert 400 <= answer.status <= 599
    document = json.loads(answer.body)
    assert document["error"]
    assert set(document) == ({"error", "service"} if row.fast_fail else {"error"})


@pytest.mark.parametrize(
    "module",
    [
        "admission",
        "metering",
        "position",
        "publisher",
        "responses",
        "store_gate",
        "throttle",
        "verification",
        "backends.contract",
    ],
)
def test_leaves_of_the_relay_path_have_rows_of_their_own(module: str) -> None:
    own = [leaf for leaf in LEAVES if leaf.__module__ == f"relayer_web.{module}"]
    assert own
    assert [leaf for leaf in own if leaf not in ROWS] == []


def test_a_row_s_category_fits_its_status() -> None:
    """4xx tell the gateway that the relay was wrong, 5xx that we were: a mix-up costs reputation."""
    for kind, row in ROWS.items():
        if row.status and issubclass(kind, Malformed) and kind.__name__ != "UnreadableSupplier":
            assert 400 <= row.status < 500
        if row.status and issubclass(kind, Unavailable):
            assert row.status >= 500


@given(st.text())
def test_any_text_of_a_sender_is_escaped_and_bounded(text: str) -> None:
    answer = refusal_answer(UnknownService(service_id=text), "")
    assert len(json.loads(answer.body)["error"]) <= MAX_TEXT


def test_lone_surrogates_do_not_break_the_answer() -> None:
    assert json.loads(refusal_answer(UnknownService(service_id="\ud800"), "").body)["error"]


@pytest.mark.parametrize(("given_status", "answered"), [(500, 500), (599, 599), (600, 502), (999, 502)])
def test_a_backend_s_status_is_passed_on_only_as_5xx(given_status: int, answered: int) -> None:
    assert status_of(refusals.BackendStatus(status=given_status)) == answered


def test_texts_gateways_look_for() -> None:
    from relay_store.meter import StakeExhausted

    text = text_of(StakeExhausted())
    assert "session relay limit reached" in text
    assert "claimable portion fully consumed" in text
