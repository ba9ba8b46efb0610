"""The chain as seen through a node: queries at a height, blocks, transactions, and the operator's keys."""
