"""What is in the store, for operators: books, sessions, streams, dead letters. Reads only."""
