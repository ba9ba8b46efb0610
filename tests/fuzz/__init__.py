"""Mutated inputs for everything that reads bytes of strangers: run by hand with `make fuzz` (docs/fuzz.md).

A small run of each target is part of `make test` (tests/unit/test_fuzz.py), so that none of this rots.
"""
