"""A small OIDC issuer of the tests' own: a real HTTP server in a process of its own, with keys that it turns over.

It signs with `cryptography` alone, so that what reads its tokens is not tried with itself.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import secrets
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _number(value: int, size: int | None = None) -> str:
    return encoded(value.to_bytes(size or (value.bit_length() + 7) // 8, "big"))


class Signer:
    """A key that tokens are signed with: `RS256` or `ES256`."""

    def __init__(self, kid: str, algorithm: str = "ES256") -> None:
        self.kid = kid
        self.algorithm = algorithm
        self._key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey = (
            ec.generate_private_key(ec.SECP256R1())
            if algorithm == "ES256"
            else rsa.generate_private_key(public_exponent=65537, key_size=2048)
        )

    @property
    def pem(self) -> bytes:
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(serialization.Encoding.PEM, kind)

    def jwk(self) -> dict[str, str]:
        told = {"kid": self.kid, "use": "sig", "alg": self.algorithm}
        numbers = self._key.public_key().public_numbers()
        if isinstance(numbers, rsa.RSAPublicNumbers):
            return {**told, "kty": "RSA", "n": _number(numbers.n), "e": _number(numbers.e)}
        return {**told, "kty": "EC", "crv": "P-256", "x": _number(numbers.x, 32), "y": _number(numbers.y, 32)}

    def sign(self, claims: Mapping[str, Any], **header: Any) -> str:
        """A token. Its header says what `header` says, whatever it is signed with."""
        said = {"alg": self.algorithm, "typ": "JWT", "kid": self.kid, **header}
        said = {name: value for name, value in said.items() if value is not None}
        head = f"{encoded(json.dumps(said).encode())}.{encoded(json.dumps(claims).encode())}"
        return f"{head}.{encoded(self._signature(head.encode()))}"

    def _signature(self, data: bytes) -> bytes:
        if isinstance(self._key, rsa.RSAPrivateKey):
            return self._key.sign(data, padding.PKCS1v15(), hashes.SHA256())
        r, s = decode_dss_signature(self._key.sign(data, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def with_hmac(token: str, secret: bytes, algorithm: str = "HS256") -> str:
    """The claims of `token` signed with a secret: what who takes a public key for one would let in."""
    header = json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))
    head = f"{encoded(json.dumps({**header, 'alg': algorithm}).encode())}.{token.split('.')[1]}"
    return f"{head}.{encoded(hmac.new(secret, head.encode(), hashlib.sha256).digest())}"


class Issuer:
    """The tests' end of an issuer that runs."""

    def __init__(self, url: str, process: subprocess.Popen[str]) -> None:
        self.url = url
        self.process = process

    def token(self, **claims: Any) -> str:
        """A token for `alice`, for an hour and for headrace, but for what `claims` say; None leaves one out."""
        return str(self._do("sign", {"claims": claims})["token"])

    def rotate(self, *, keep: bool = True) -> None:
        """Sign with another key from now on; unless `keep`, none of the former ones is shown any more."""
        self._do("rotate", {"keep": keep})

    def expect(self, **claims: Any) -> None:
        """What the tokens of the next sign-ins say."""
        self._do("expect", {"claims": claims})

    def asked(self) -> dict[str, int]:
        """How often each path was asked for."""
        return dict(self._do("asked", {}))

    def stop(self) -> None:
        """Be away, from now on."""
        self.process.kill()
        self.process.wait()

    def _do(self, what: str, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(f"{self.url}/control/{what}", json.dumps(body).encode())
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


@contextmanager
def issuer() -> Iterator[Issuer]:
    """An issuer in a process of its own."""
    with subprocess.Popen([sys.executable, __file__], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield Issuer(process.stdout.readline().strip(), process)
        finally:
            process.kill()


class _Handler(BaseHTTPRequestHandler):
    signers: list[Signer] = [Signer("key-1", "RS256")]  # noqa: RUF012 - one server a process
    made = 1
    codes: dict[str, dict[str, str]] = {}  # noqa: RUF012
    expected: dict[str, Any] = {}  # noqa: RUF012
    counts: dict[str, int] = {}  # noqa: RUF012
    url = ""

    def do_GET(self) -> None:
        path, query = urlsplit(self.path).path, parse_qs(urlsplit(self.path).query)
        self.counts[path] = self.counts.get(path, 0) + 1
        if path == "/.well-known/openid-configuration":
            self._say({
                "issuer": self.url, "jwks_uri": f"{self.url}/keys",
                "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            })  # fmt: skip
        elif path == "/keys":
            self._say({"keys": [one.jwk() for one in self.signers] + [{"kty": "oct", "k": "AA", "kid": "shared"}]})
        elif path == "/authorize":
            asked = {name: values[0] for name, values in query.items()}
            code = secrets.token_urlsafe()
            self.codes[code] = asked
            back = urlencode({"code": code, "state": asked["state"]})
            self.send_response(302)
            self.send_header("Location", f"{asked['redirect_uri']}?{back}")
            self.end_headers()
        else:
            self.send_error(404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        kind = type(self)
        if self.path == "/token":
            self._exchange({name: values[0] for name, values in parse_qs(body.decode()).items()})
            return
        said = json.loads(body)
        if self.path == "/control/sign":
            self._say({"token": self._token(said["claims"])})
        elif self.path == "/control/rotate":
            kind.made += 1
            new = Signer(f"key-{kind.made}")
            kind.signers = [new, *(self.signers if said["keep"] else [])]
            self._say({})
        elif self.path == "/control/expect":
            kind.expected = said["claims"]
            self._say({})
        else:
            self._say(self.counts)

    def _token(self, claims: Mapping[str, Any]) -> str:
        now = int(time.time())
        whole = {"iss": self.url, "aud": "headrace", "sub": "alice", "iat": now, "exp": now + 3600, **claims}
        return self.signers[0].sign({name: value for name, value in whole.items() if value is not None})

    def _exchange(self, form: Mapping[str, str]) -> None:
        """RFC 6749 4.1.3, with a proof of possession (RFC 7636)."""
        asked = self.codes.pop(form.get("code", ""), None)
        challenge = encoded(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        good = (
            asked is not None
            and form["grant_type"] == "authorization_code"
            and asked["redirect_uri"] == form["redirect_uri"]
            and (asked["code_challenge"], asked["code_challenge_method"]) == (challenge, "S256")
            and self.headers.get("Authorization", "").startswith("Basic ")
        )
        if not good or asked is None:
            self._say({"error": "invalid_grant"}, 400)
            return
        claims = {"aud": asked["client_id"], "nonce": asked["nonce"], **self.expected}
        self._say({"access_token": "opaque", "token_type": "Bearer", "id_token": self._token(claims)})

    def _say(self, document: Any, status: int = 200) -> None:
        body = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002 - its name there
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    _Handler.url = f"http://127.0.0.1:{server.server_port}"
    print(_Handler.url, flush=True)  # noqa: T201 - to who has started it
    server.serve_forever()
