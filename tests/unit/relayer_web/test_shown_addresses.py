"""Who asks `/ready/<service>` on the relay port is a stranger: providers put their keys into the paths of addresses."""

from __future__ import annotations

import pytest

from relayer_web.backends.configured import shown_to_strangers


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://127.0.0.1:8545", "http://127.0.0.1:8545"),
        ("http://127.0.0.1:8545/", "http://127.0.0.1:8545/"),
        ("https://node.example/v3/0123456789abcdef", "https://node.example/***"),
        ("https://user:word@node.example/v3/key?token=1", "https://user:***@node.example/***?***"),
        ("wss://node.example/ws/key", "wss://node.example/***"),
    ],
)
def test_paths_of_backends_are_not_shown(url: str, shown: str) -> None:
    assert shown_to_strangers(url) == shown
