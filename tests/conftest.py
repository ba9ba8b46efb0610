"""How the tests are spread over processes."""

from __future__ import annotations

import pytest


@pytest.hookimpl(tryfirst=True)  # before the tests are dealt out
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A module of integration tests stays in one process, as its deployment does.

    Tests that start the whole product share one: two of them at once would starve each other.
    """
    for item in items:
        if item.get_closest_marker("slow"):
            item.add_marker(pytest.mark.xdist_group("whole product"))
        elif "integration" in item.path.parts:
            item.add_marker(pytest.mark.xdist_group(item.path.stem))
