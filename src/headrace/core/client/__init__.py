"""Decisions of the client library: which address to use, when to retry, when to hedge."""
