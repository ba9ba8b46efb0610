"""What the append-only file promises must hold while it is rewritten, too."""

from __future__ import annotations

from pathlib import Path

from relay_cli.up.files import store_settings
from relay_cli.up.layout import Layout
from relay_cli.up.ports import choose_ports
from relay_store.connection import connect
from relay_store.probe import probe
from tests.stores import private_server


def test_a_store_that_does_not_sync_during_a_rewrite_is_said(tmp_path: Path) -> None:
    settings = {"appendonly": "yes", "appendfsync": "everysec", "maxmemory": "100mb"}
    with private_server(tmp_path, **settings) as server:
        store = connect(server.connection_url)
        before = set(probe(store).warnings)
        store.client.config_set("no-appendfsync-on-rewrite", "yes")
        (warning,) = set(probe(store).warnings) - before
        assert "no-appendfsync-on-rewrite is yes" in warning
        store.close()


def test_the_stores_we_set_up_do(tmp_path: Path) -> None:
    written = Path("deploy/redis.conf").read_text()
    assert "\nno-appendfsync-on-rewrite no\n" in written
    assert "no-appendfsync-on-rewrite no\n" in store_settings(
        Layout(tmp_path, choose_ports({}, anywhere=False))
    )
