"""API keys: how they are made, stored without their secrets, and looked up.

A key is ``hr_ID_SECRET``. The file has a line of JSON for each: the id, by which it is found, and a salted SHA-256 of
the secret. The secret is 256 bits of chance, so that there is nothing to guess: a slow hash, which makes guessing of
passwords dear, would only make each check dear (RFC 9106 and NIST SP 800-63B ask for one where people choose).
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from headrace.core.security.roles import Grant

ID_BYTES, SALT_BYTES, SECRET_BYTES = 8, 16, 32

_TOKEN = re.compile(rb"hr_([0-9a-f]{16})_([0-9a-f]{64})")
_LONGEST_TOKEN = 200


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a key. `expires_s` is a Unix time, None: it does not expire."""

    id: str
    salt: str
    sha256: str
    grant: Grant
    expires_s: float | None = None
    created_s: float | None = None

    def __post_init__(self) -> None:
        for value, size in ((self.id, 16), (self.salt, 32), (self.sha256, 64)):
            if not re.fullmatch(f"[0-9a-f]{{{size}}}", value):
                raise ValueError("id, salt or sha256 is not what `headrace key create` writes")

    def __repr__(self) -> str:
        return f"<Key {self.id} of {self.grant.name}>"


class BadKeys(ValueError):
    """A file of keys cannot be read; the message has the line and what is wrong with it, never its content."""


def make(
    chance: bytes, grant: Grant, *, created_s: float | None = None, expires_s: float | None = None
) -> tuple[Key, str]:
    """(what is stored, the key itself, which is stored nowhere) from 56 random bytes."""
    if len(chance) != ID_BYTES + SALT_BYTES + SECRET_BYTES:
        raise ValueError("56 bytes are needed")
    name, salt = chance[:ID_BYTES].hex(), chance[ID_BYTES : ID_BYTES + SALT_BYTES].hex()
    secret = chance[ID_BYTES + SALT_BYTES :].hex()
    kept = Key(
        id=name,
        salt=salt,
        sha256=_digest(salt, secret.encode()),
        grant=grant,
        created_s=created_s,
        expires_s=expires_s,
    )
    return kept, f"hr_{name}_{secret}"


def write(keys: Iterable[Key]) -> str:
    """The content of a file with these keys."""
    return "".join(msgspec.json.encode(key).decode() + "\n" for key in keys)


def parse(text: str) -> list[Key]:
    """The keys of a file; empty lines and those that begin with # are left out. Raises BadKeys."""
    keys = []
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                keys.append(msgspec.json.decode(line, type=Key))
            except (msgspec.DecodeError, ValueError) as error:
                reason = (
                    str(error) if isinstance(error, msgspec.ValidationError) else "not a line of JSON as it should be"
                )
                raise BadKeys(f"line {number}: {reason}") from None
    return keys


class KeyTable:
    """Looks keys up. The time that it takes for a wrong key reveals nothing of the right ones."""

    def __init__(self, keys: Iterable[Key]) -> None:
        self._keys = {key.id: key for key in keys}

    def __len__(self) -> int:
        return len(self._keys)

    def holds(self, key: Key) -> bool:
        """Whether the key is one of these."""
        return self._keys.get(key.id) == key

    def find(self, token: bytes) -> Key | None:
        """The key for `token`; None if it is none of these."""
        match = _TOKEN.fullmatch(token) if len(token) <= _LONGEST_TOKEN else None
        if match is None:
            return None
        # Ids are no secrets: they only say which digest to compare with, and that takes as long for every one.
        key = self._keys.get(match[1].decode())
        known = key if key is not None else _NO_KEY
        same = hmac.compare_digest(_digest(known.salt, match[2]), known.sha256)
        return key if same else None


def token_of(authorization: bytes) -> bytes | None:
    """The key in the value of an Authorization header: ``Bearer KEY``, or a browser's ``Basic`` with it as password."""
    scheme, _, rest = authorization.partition(b" ")
    rest = rest.strip()
    if scheme.lower() == b"bearer" and rest:
        return rest
    if scheme.lower() == b"basic":
        try:
            return base64.b64decode(rest, validate=True).partition(b":")[2] or None
        except (binascii.Error, ValueError):
            return None
    return None


def _digest(salt: str, secret: bytes) -> str:
    return sha256(bytes.fromhex(salt) + secret).hexdigest()


_NO_KEY = Key(id="0" * 16, salt="00" * SALT_BYTES, sha256="0" * 64, grant=Grant(name=""))
