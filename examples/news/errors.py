"""What can go wrong for reasons outside this program."""

from __future__ import annotations


class NewsError(Exception):
    """Something the caller can repair. The message is one line: what failed, where, and what to do next."""
