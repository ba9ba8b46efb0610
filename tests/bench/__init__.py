"""What a relay costs, by process: run by hand with `make bench`, never by a test (design.md §5).

Nothing here asserts a time: figures depend on the machine and on what else runs on it. They are printed beside
a fixed loop's time, taken around each run, so that a slow moment of the machine can be told from a slow product.
"""
