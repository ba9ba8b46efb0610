"""Pocket Network (Shannon), byte-exact and pure: no I/O, clock, environment or randomness in here.

What a chain position or a time is needed for takes it as an argument. `wire` says how messages
become bytes, `relay` what a relay is and hashes to, `ring` and `signer` who signed it, `session`
and `windows` when it counts, `smst` the tree it is claimed with, `economics` what it pays.
"""

__version__ = "0.1.0"
