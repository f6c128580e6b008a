"""Reads a server's certificate from its files, and says what is wrong with them before any client meets it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.config.security import Tls
from headrace.core.errors import ConfigError, UsageError
from headrace.core.protocol.messages import Certificate
from headrace.security.contexts import server_context

if TYPE_CHECKING:
    from cryptography import x509

_LARGEST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class Shown:
    """A certificate that is good to be shown. Times are Unix seconds; `names` are those that it is for.

    `leaf` is the server's own certificate alone, as DER.
    """

    certificate: Certificate
    leaf: bytes
    names: tuple[str, ...]
    begins_s: float
    ends_s: float


Files = tuple[bytes, bytes | None, bytes | None]
"""What the files of a section hold: certificate, key, authorities of clients."""


def read(section: Tls, path: str) -> Files:
    """Read the files as they are. `path` is where in the configuration they stand; raises ConfigError."""
    certificate = _read(section.certificate, f"{path}.certificate")
    key = _read(section.key, f"{path}.key") if section.key is not None else None
    client_ca = _read(section.client_ca, f"{path}.client_ca") if section.client_ca is not None else None
    return certificate, key, client_ca


def check(files: Files, section: Tls, path: str) -> Shown:
    """Make of files what can be shown to clients; raises ConfigError with the one that is wrong, and why."""
    chain, key, client_ca = files
    from cryptography.hazmat.primitives.serialization import Encoding  # noqa: PLC0415 - 0.1 s, for who has TLS

    leaf = _certificates(chain, section.certificate, f"{path}.certificate")[0]
    key_path, key_file = (f"{path}.certificate", section.certificate) if key is None else (f"{path}.key", section.key)
    _check_key(chain if key is None else key, leaf, key_path, key_file or section.certificate)
    if client_ca is not None and section.client_ca is not None:
        _certificates(client_ca, section.client_ca, f"{path}.client_ca")
    certificate = Certificate(
        pem=chain if key is None else chain.rstrip() + b"\n" + key,
        client_ca=client_ca.decode("ascii", "replace") if client_ca is not None else None,
        optional=section.client_certificate == "optional",
        handshake_timeout_s=section.handshake_timeout_s,
        max_handshakes=section.max_handshakes,
    )
    try:
        server_context(certificate)
    except (ssl.SSLError, UsageError) as error:
        raise ConfigError(f"{path}.certificate", f"{section.certificate}: OpenSSL refuses it: {error}") from None
    begins, ends = leaf.not_valid_before_utc, leaf.not_valid_after_utc
    return Shown(certificate, leaf.public_bytes(Encoding.DER), _names(leaf), begins.timestamp(), ends.timestamp())


def _read(file: Path, path: str) -> bytes:
    try:
        with file.open("rb") as opened:
            data = opened.read(_LARGEST_BYTES + 1)
    except OSError as error:
        raise ConfigError(path, f"{file} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST_BYTES:
        raise ConfigError(path, f"{file} is too large to be a certificate")
    return data


def _certificates(data: bytes, file: Path, path: str) -> list[x509.Certificate]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise ConfigError(
            path, f"{file} holds no certificate in PEM form (-----BEGIN CERTIFICATE-----), or a damaged one"
        ) from None


def _check_key(data: bytes, leaf: x509.Certificate, path: str, file: Path) -> None:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - as above
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415 - as above
        Encoding,
        PublicFormat,
        load_pem_private_key,
    )

    try:
        key = load_pem_private_key(data[max(0, _key_at(data)) :], None)
    except TypeError:
        raise ConfigError(path, f"the key in {file} has a passphrase; give one without, for this user alone") from None
    except (ValueError, UnsupportedAlgorithm):
        raise ConfigError(
            path, f"{file} holds no private key in PEM form (-----BEGIN PRIVATE KEY-----), or a damaged one"
        ) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != leaf.public_key().public_bytes(*form):
        raise ConfigError(path, f"the key in {file} is not that of the certificate")


def _key_at(data: bytes) -> int:
    """Where a private key begins in a file that also holds certificates."""
    mark = data.find(b"PRIVATE KEY-----")
    return data.rfind(b"-----BEGIN ", 0, mark) if mark > 0 else 0


def _names(leaf: x509.Certificate) -> tuple[str, ...]:
    from cryptography import x509  # noqa: PLC0415 - as above

    try:
        found = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (x509.ExtensionNotFound, ValueError):
        return ()
    return (*found.get_values_for_type(x509.DNSName), *map(str, found.get_values_for_type(x509.IPAddress)))
