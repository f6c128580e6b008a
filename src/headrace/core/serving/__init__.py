"""Decisions of a gateway about requests: admission, batches, caching, traffic splits, shadows."""
