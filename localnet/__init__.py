"""A local Pocket chain in one process, for demo, tests and development, and the backend that answers relays."""
