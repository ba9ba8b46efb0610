from tests.topologies import cluster, store

__all__ = ["cluster", "store"]
