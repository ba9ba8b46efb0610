"""The backend that answers relays in demos and tests (spec/relayer.md §9)."""
