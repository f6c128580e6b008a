"""The parts of the tree that say who may connect, who is believed to be whom, and who may do what."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from headrace.config.section import Count, NonEmpty, Positive, Section
from headrace.core.security.roles import Role


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


class Allowed(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What somebody may do: `roles`, and patterns of the `models` that `predict` holds for."""

    roles: tuple[Role, ...] = ("predict",)
    models: tuple[NonEmpty, ...] = ("*",)


class Proxy(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`auth.proxy:` a proxy that has found out who a client is, and says so in `header`.

    The header counts where it comes from one of `addresses` (networks, such as 10.0.0.0/8), and nowhere else.
    """

    addresses: tuple[NonEmpty, ...]
    header: Annotated[str, Meta(pattern="^[A-Za-z0-9-]+$")] = "X-Forwarded-User"


class Quota(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`quotas.WHO:` how much a client may ask for; what is above is answered with 429. None: no limit.

    `WHO` is a pattern of names: those of keys and of who has grants. Who has none is `anonymous`, or their address, and
    each address has a quota of its own. Of each client the first that fits holds, for all gateway processes together.

    `requests_per_s` and `rows_per_s`: `burst_s` seconds' worth of them may come at once. `in_flight`: how many requests
    may wait or be in work at the same time. `rows_per_day`: rows of a day of UTC, counted since headrace was started.
    """

    requests_per_s: Positive | None = None
    rows_per_s: Positive | None = None
    burst_s: Positive = 1.0
    in_flight: Count | None = None
    rows_per_day: Count | None = None


Algorithm = Literal["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512"]


class Client(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`auth.issuers.NAME.client:` what headrace is at the issuer, for people who sign in to the dashboard there.

    `secret`: None for a public client. `scopes` are asked for beside `openid`. `redirect_uri` is the address of the
    admin port with `/sign-in/return`, as the issuer knows it (None: the one that the browser uses).
    """

    id: NonEmpty
    secret: NonEmpty | None = None
    scopes: tuple[NonEmpty, ...] = ()
    redirect_uri: NonEmpty | None = None


class SignIn(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`auth.sign_in:` how long somebody is signed in to the dashboard.

    A session ends when nothing is done for `idle_s`, and after `longest_s`.
    """

    idle_s: Positive = 3_600.0
    longest_s: Positive = 43_200.0


class Issuer(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`auth.issuers.NAME:` an OIDC issuer. Its tokens (JWT) count where `audiences` has one of their `aud`.

    `issuer` is its address, which tokens have in `iss`. Its keys are fetched from `jwks_url` (None: where its
    `/.well-known/openid-configuration` says), again each `refresh_s`, and when a token has a key that is not known.
    `ca`: the authorities of its certificate, instead of those of the machine. `algorithms` may sign. Clocks may differ
    by `leeway_s`.

    `name_claim` says who it is: the name is `NAME:VALUE`. Who has a value in `grants_claim` (None: in `name_claim`)
    that fits a pattern of `grants` may do what stands there; all that fit count. `roles_claim` and `models_claim` have
    roles and models in the token itself. A claim may be a path: `realm_access.roles`. With `client` people can sign in
    to the dashboard there.
    """

    issuer: NonEmpty
    audiences: tuple[NonEmpty, ...]
    jwks_url: NonEmpty | None = None
    ca: Path | None = None
    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    leeway_s: Annotated[float, Meta(ge=0)] = 30.0
    refresh_s: Positive = 300.0
    name_claim: NonEmpty = "sub"
    grants_claim: NonEmpty | None = None
    grants: dict[NonEmpty, Allowed] = {}  # noqa: RUF012 - a struct copies it
    roles_claim: NonEmpty | None = None
    models_claim: NonEmpty | None = None
    client: Client | None = None


class Auth(Section, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`auth:` who may ask what. Where it is given, who shows nothing may do what `anonymous` says, and that is nothing.

    `keys` is a file that `headrace key create` writes, or a directory of such files. It is read again as it changes.
    `grants` says what others may: names that stand in certificates of clients (a URI, a DNS name, the common name) or
    in the header of a `proxy`, or patterns of such names; the first that fits holds. `issuers` are those whose tokens
    count.

    The roles: `predict`; `read` (the state, metrics, the dashboard); `operate` (refresh, roll back, try), which
    includes read; `admin`, which includes them all. `probes`: whether anybody may ask if models are ready.
    """

    keys: Path | None = None
    grants: dict[NonEmpty, Allowed] = {}  # noqa: RUF012 - a struct copies it
    proxy: Proxy | None = None
    issuers: dict[NonEmpty, Issuer] = {}  # noqa: RUF012 - as above
    anonymous: Allowed | None = None
    probes: Literal["open", "closed"] = "open"
    sign_in: SignIn = SignIn()
