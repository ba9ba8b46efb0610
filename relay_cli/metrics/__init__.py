"""What a running relayer or miner says of itself in its metrics, readably."""
