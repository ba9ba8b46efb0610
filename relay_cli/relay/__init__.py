"""The client side of a relay: build, sign, send, verify (spec/relayer.md §8)."""
