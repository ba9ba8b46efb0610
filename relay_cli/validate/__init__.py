"""Checks of configuration files, against their rules and against the chain."""
