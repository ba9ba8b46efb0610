"""The version of our own data in a store (decisions.md A): an older program refuses newer data."""

from __future__ import annotations

from typing import Final

from pocket_protocol.errors import Refused
from relay_store.connection import Store
from relay_store.keys import OwnKeys
from relay_store.store_errors import store_errors

DATA_VERSION: Final = 1


class DataVersionUnknown(Refused):
    """The store holds data of a version this program does not know."""

    reason = "data_version_unknown"
    summary = "the store's data format is not known to this program"


def check_version(store: Store, keys: OwnKeys) -> int:
    """Mark an empty store with our version and return the version found.

    Raises `DataVersionUnknown` for a newer or unreadable one, `StoreUnavailable`.
    """
    with store_errors():
        store.client.set(keys.version(), str(DATA_VERSION), nx=True)
        text = store.client.get(keys.version()) or b""
    if not text.isdigit() or not 1 <= int(text) <= DATA_VERSION:
        raise DataVersionUnknown(found=text.decode(errors="replace")[:20], known=DATA_VERSION)
    return int(text)
