"""Runs several processes as one: in order, probed, restarted, stopped cleanly, never left behind."""
