"""Backends: pools, circuit breakers and the HTTP client of the relay path."""
