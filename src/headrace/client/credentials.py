"""What a client shows of itself, and whom it trusts: a key, a certificate of its own, the authorities of servers."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from headrace.client.errors import BadRequest

TOKEN = "HEADRACE_TOKEN"  # noqa: S105 - a variable's name
SERVER_CA = "HEADRACE_SERVER_CERT_PATH"
CLIENT_CERTIFICATE = "HEADRACE_CLIENT_CERT_PATH"


@dataclass(frozen=True)
class Credentials:
    """`token` is sent as ``Authorization: Bearer``. The others are paths of PEM files.

    `ca` holds the authorities that a server's certificate may come from, None: those that the machine trusts.
    `certificate` is shown to servers that ask for one; its key is in `key`, None: in the same file.
    """

    token: str | None = field(default=None, repr=False)
    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """What requests carry. Raises BadRequest for a token that no header can hold."""
        if self.token is None:
            return {}
        if not self.token.isascii() or not self.token.isprintable() or " " in self.token:
            raise BadRequest("the token holds characters that no key has; is its file the right one?")
        return {"Authorization": f"Bearer {self.token}"}

    @property
    def has_files(self) -> bool:
        """Whether connections need more than what the machine trusts."""
        return self.ca is not None or self.certificate is not None

    def context(self) -> ssl.SSLContext:
        """What handshakes go by: the server's name and certificate are verified. Raises BadRequest for wrong files."""
        try:
            made = ssl.create_default_context(cafile=self.ca)
        except (OSError, ssl.SSLError) as error:
            raise BadRequest(f"{self.ca}: no authorities in PEM form can be read from it: {_reason(error)}") from None
        if self.certificate is not None:
            try:
                made.load_cert_chain(self.certificate, self.key, password=_no_passphrase)
            except (OSError, ssl.SSLError) as error:
                where = self.certificate if self.key is None else f"{self.certificate} and {self.key}"
                raise BadRequest(
                    f"{where}: no certificate with its key in PEM form can be read from there: {_reason(error)}"
                ) from None
        return made


NO_CREDENTIALS = Credentials()


def credentials(
    token: str | None = None,
    ca: str | os.PathLike[str] | None = None,
    certificate: str | os.PathLike[str] | None = None,
    key: str | os.PathLike[str] | None = None,
    *,
    environ: Mapping[str, str],
) -> Credentials:
    """What was given, and for the rest what the environment says: the three variables above."""
    given = certificate if certificate is not None else environ.get(CLIENT_CERTIFICATE) or None
    return Credentials(
        token or environ.get(TOKEN) or None,
        _path(ca) or environ.get(SERVER_CA) or None,
        _path(given),
        _path(key),
    )


def read_token(file: Path) -> str:
    """The token that stands alone in a file; raises BadRequest where none does."""
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{file} cannot be read: {_reason(error)}") from None
    if not token:
        raise BadRequest(f"{file} is empty")
    return token


def _path(given: str | os.PathLike[str] | None) -> str | None:
    return os.fspath(given) if given is not None else None


def _no_passphrase() -> str:
    raise BadRequest("the key of the client's certificate has a passphrase; give one without")


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error)
