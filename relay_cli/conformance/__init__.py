"""Comparing this implementation with recorded data of the network: one module per kind of vectors file."""
