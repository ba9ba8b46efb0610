"""All that touches Redis, and nothing that decides."""
