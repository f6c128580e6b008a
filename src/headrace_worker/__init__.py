"""Runs one model in the environment it was trained in: standard library, Python 3.9, nothing of headrace."""
