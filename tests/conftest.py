"""How the tests are spread over processes."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before the tests are dealt out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that start the whole product share one process: two of them at once would starve each other."""
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.xdist_group("whole product"))
