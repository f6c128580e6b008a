"""Why credentials are not accepted."""

from __future__ import annotations


class Untrusted(Exception):
    """Credentials are not valid. The message says why, as far as the client may know."""


class UnknownKey(Untrusted):
    """A token is signed with a key that its issuer did not have when its keys were fetched; `issuer` is its name."""

    def __init__(self, issuer: str) -> None:
        super().__init__("The key that this token is signed with is not known; its issuer is asked. Try again soon.")
        self.issuer = issuer
