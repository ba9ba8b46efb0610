"""Everything on one machine: chain, backend, store, relayer and miner under one supervisor."""
