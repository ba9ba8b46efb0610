"""The reference pages of docs/ that are written from the code: settings, refusals, metrics."""
