"""WebSocket relays: a bridge between a gateway's connection and one to a backend (spec/relayer.md §1.7)."""
