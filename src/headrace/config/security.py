"""The parts of the tree that say who may connect, who is believed to be whom, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from headrace.config.section import Count, Positive, Section


class Tls(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`tls:` encrypt what goes over the ports, by TLS 1.2 or 1.3. The files are PEM and are read again as they change.

    `certificate` is the server's certificate, followed by those between it and its authority. `key` is its private key,
    without a passphrase (None: it stands in the same file).

    `client_ca`: the authorities of clients' certificates. With it `client_certificate` says whether one must be shown
    (`required`) or may be (`optional`), so that probes that have none are answered.

    A client has `handshake_timeout_s` for its handshake, and a process has `max_handshakes` under way at a time: who
    comes then is cut off.
    """

    certificate: Path
    key: Path | None = None
    client_ca: Path | None = None
    client_certificate: Literal["required", "optional"] = "required"
    handshake_timeout_s: Positive = 10.0
    max_handshakes: Count = 1_000
