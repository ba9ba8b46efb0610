from tests.stores import store, store_server
from tests.unit.relayer_web.relay_world import backend_server, make_world, world

__all__ = ["backend_server", "make_world", "store", "store_server", "world"]
