"""The main job, start to end, on a local chain: serve, mine, claim, prove, be paid."""
