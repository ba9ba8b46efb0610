"""A subscription is there when its start returns: what is said from then on is heard (spec/relayer.md §5.3)."""

from __future__ import annotations

import socket
import threading

from relay_store.connection import Store, connect
from relay_store.subscription import Subscription


def test_a_message_right_after_the_start_is_heard(store: Store) -> None:
    """reference: TestSubscribeToInvalidations_ActiveOnReturn, …_DeliversMessagePublishedImmediately."""
    for number in range(4):
        heard = threading.Event()
        subscription = Subscription(store.client, {"channel": lambda payload, heard=heard: heard.set()})  # type: ignore[misc]
        assert subscription.start(wait_s=10)
        assert store.client.publish("channel", str(number)) == 1
        assert heard.wait(10)
        subscription.stop()


def test_a_store_that_is_away_does_not_hold_the_start_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    store = connect(f"redis://127.0.0.1:{port}", timeout_s=0.2, connect_timeout_s=0.2)
    subscription = Subscription(store.client, {"channel": lambda payload: None})
    assert not subscription.start(wait_s=0.05)
    subscription.stop()
    store.close()
