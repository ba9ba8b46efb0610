from tests.stores import store, store_server

__all__ = ["store", "store_server"]
