"""The `pocket-relay-miner` command."""
