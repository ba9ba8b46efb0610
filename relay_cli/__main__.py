"""`python -m relay_cli`: the same as `pocket-relay-miner`."""

from __future__ import annotations

from relay_cli.main import main

if __name__ == "__main__":
    main()
