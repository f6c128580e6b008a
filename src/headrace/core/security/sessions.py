"""Sessions of browsers: who has signed in, until they sign out, do nothing for too long, or were in long enough."""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64encode
from hashlib import sha256

import msgspec

from headrace.core.security.keys import Key
from headrace.core.security.roles import Grant

CHANCE_BYTES = 64


class Session(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """`csrf` must come with each change. `key` is the key that was shown, None: it was no key."""

    grant: Grant
    key: Key | None
    csrf: str
    began_s: float

    def __repr__(self) -> str:
        return f"<Session of {self.grant.name}>"

    def permits(self, token: str | None) -> bool:
        """Whether a request with this token may change something: a page of another site cannot know it."""
        return token is not None and hmac.compare_digest(token.encode(), self.csrf.encode())


class Sessions:
    """At most `most`: when there are more, the one that was not used for longest ends. Times are seconds of any clock.

    What stands in a cookie is kept nowhere, only its hash, by which the session is found.
    """

    def __init__(self, *, idle_s: float, longest_s: float, most: int = 1_000) -> None:
        self._idle_s = idle_s
        self._longest_s = longest_s
        self._most = most
        self._sessions: dict[bytes, tuple[Session, float]] = {}

    def __len__(self) -> int:
        return len(self._sessions)

    def begin(self, chance: bytes, grant: Grant, key: Key | None, now_s: float) -> str:
        """Begin a session and return the value of its cookie. `chance`: 64 random bytes."""
        if len(chance) != CHANCE_BYTES:
            raise ValueError("64 bytes are needed")
        cookie, csrf = (urlsafe_b64encode(half).rstrip(b"=").decode() for half in (chance[:32], chance[32:]))
        self._sessions = {of: held for of, held in self._sessions.items() if self._holds(held, now_s)}
        if len(self._sessions) >= self._most:
            del self._sessions[min(self._sessions, key=lambda of: self._sessions[of][1])]
        self._sessions[_hash(cookie)] = Session(grant=grant, key=key, csrf=csrf, began_s=now_s), now_s
        return cookie

    def find(self, cookie: str, now_s: float, *, used: bool = True) -> Session | None:
        """The session of a cookie; None if there is none or it has ended. `used`: this counts as activity."""
        held = self._sessions.get(_hash(cookie))
        if held is None:
            return None
        if not self._holds(held, now_s):
            self.end(cookie)
            return None
        if used:
            self._sessions[_hash(cookie)] = held[0], now_s
        return held[0]

    def end(self, cookie: str) -> None:
        """End a session."""
        self._sessions.pop(_hash(cookie), None)

    def _holds(self, held: tuple[Session, float], now_s: float) -> bool:
        session, used_s = held
        return now_s - used_s < self._idle_s and now_s - session.began_s < self._longest_s


def _hash(cookie: str) -> bytes:
    return sha256(cookie.encode("utf-8", "replace")).digest()
