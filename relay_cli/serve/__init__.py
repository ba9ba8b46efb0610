"""The production commands: `relayer` and `miner`."""
