"""The miner: Celery tasks that accumulate relays, claim and prove sessions."""
