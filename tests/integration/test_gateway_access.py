"""Who may ask what on the data ports: every route, method and role, against a real gateway process."""

from __future__ import annotations

import itertools
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest

from headrace.config.security import Tls
from headrace.core.protocol import messages
from headrace.core.security.access import Access
from headrace.core.security.keys import make
from headrace.core.security.roles import Grant
from headrace.gateway.http import protocols, routing
from headrace.gateway.http.routing import resolve
from headrace.gateway.http.targets import PREDICTIONS, Target, Want
from headrace.security.certificates import check, read
from tests.authority import Authority, Pair
from tests.gateway_rig.client import RawClient, Reply, get, post
from tests.gateway_rig.rig import GatewayRig


def key(number: int, *roles: str, models: tuple[str, ...] = ("*",)) -> tuple[object, str]:
    return make(bytes([number]) * 56, Grant(name=f"k{number}", roles=roles, models=models))  # type: ignore[arg-type]


KEYS = {
    "predict": key(1, "predict"),
    "read": key(2, "read"),
    "operate": key(3, "operate"),
    "admin": key(4, "admin"),
    "topic": key(5, "predict", models=("topic",)),
    "other": key(6, "predict", models=("other",)),
}
ACCESS = Access(keys=tuple(one for one, _ in KEYS.values()))  # type: ignore[misc]
METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW")
PATHS: tuple[str, ...] = (
    "/", "/ping", "/health", "/version", "/invocations", "/models", "/models/topic/ping", "/models/topic/version",
    "/models/topic/invocations", "/models/missing/invocations", "/models/missing/ping", "/models/missing/version",
    "/endpoints/topic/invocations", "/ping/", "/models/topic/ping/", "/nowhere", "/%6dodels/topic/version",
    "/v2", "/v2/health/live", "/v2/health/ready", "/v2/models", "/v2/models/topic", "/v2/models/topic/ready",
    "/v2/models/topic/infer", "/v2/models/missing/infer", "/v2/repository/index", "/v2/repository/models/topic/load",
    "/v1/models", "/v1/models/topic", "/v1/models/topic:predict", "/models/topic/v2/models/topic/infer",
    "/models/topic/v1/chat/completions", "/models/missing/v1/embeddings",
    "/mcp", "/openapi.json", "/models/topic/openapi.json", "/docs", "/models/topic/docs", "/models/missing/docs",
)  # fmt: skip
# Whatever the tables of routes have is asked, too: a route that is added is walked, and not left out by accident.
TABLES = (
    *(f"/{action.decode()}" for action in routing._ACTIONS),
    *(f"/models/topic/{action.decode()}" for action in routing._ACTIONS),
    *(f"/v2{path.decode()}" for path in protocols._V2_FIXED),
    *(f"/v2/models/topic{action.decode()}" for action in protocols._V2_ACTIONS),
    *(f"{below}{path.decode()}" for below in ("", "/models/topic") for path in (*protocols._ASKED, *protocols._ABOUT)),
)
PATHS = tuple(dict.fromkeys((*PATHS, *TABLES)))


@pytest.fixture(scope="module")
def rig() -> Iterator[GatewayRig]:
    with GatewayRig(("topic", None), access=ACCESS) as rig:
        rig.table(
            [messages.Route(model="topic", pool="1", errors="strict"), messages.Route(model="other")],
            [rig.pool("1", rig.worker("w1"))],
        )
        yield rig


def bearer(name: str) -> str:
    return f"Authorization: Bearer {KEYS[name][1]}"


def ask(rig: GatewayRig, method: str, path: str, *headers: str, model: str | None = None) -> Reply:
    body = b"1" if method not in {"GET", "HEAD"} else b""
    lines = [
        f"{method} {path} HTTP/1.1",
        "Host: test",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    with rig.client(model) as client:
        client.send("\r\n".join([*lines, *headers, "", ""]).encode() + body)
        return client.reply(head_only=method == "HEAD")


@pytest.mark.parametrize("port", ["topic", None])
def test_nothing_but_probes_is_open_to_who_shows_nothing(rig: GatewayRig, port: str | None) -> None:
    answers: dict[tuple[str, str], int] = {}
    for method in METHODS:
        for path in PATHS:
            answers[method, path] = ask(rig, method, path, model=port).status
    want = {(m, p): resolve(m.encode(), p.encode(), port) for m, p in answers}
    probes = {
        asked
        for asked, target in want.items()
        if target.want in {Want.LIVE, Want.DOCS} or (target.want is Want.HEALTH and target.model == port)
    }
    assert {("GET", "/ping"), ("HEAD", "/ping"), ("GET", "/health")} <= probes
    assert {asked: status for asked, status in answers.items() if asked not in probes and status != 401} == {}


def test_every_kind_of_route_is_walked() -> None:
    """A kind that the walks below do not meet, or that is in no table, fails here."""
    met = {resolve(m.encode(), p.encode(), port).want for m in METHODS for p in PATHS for port in ("topic", None)}
    assert set(routing._METHODS) <= met
    assert set(Want) - met == {Want.WRONG_MODEL, Want.PREFLIGHT} - met


def may(name: str, target: Target) -> bool:
    """Whether who has this key may ask this on the shared port: said once more, and not as the gateway does."""
    if target.want is Want.DOCS or target.want is Want.LIVE:
        return True
    models = {"topic", "other"} if name not in {"topic", "other"} else {name}
    if target.want in PREDICTIONS or target.want is Want.FEEDBACK:
        return name not in {"read", "operate"} and (name in {"predict", "admin"} or target.model in models)
    return target.model is None or target.model in models or name not in {"topic", "other"}


@pytest.mark.parametrize("name", list(KEYS))
def test_every_route_with_every_role(rig: GatewayRig, name: str) -> None:
    wrong = {}
    for method, path in itertools.product(("GET", "POST"), PATHS):
        target = resolve(method.encode(), path.encode(), None)
        if target.want in {Want.ASK, Want.FEEDBACK} and target.model is None:
            continue  # the body names the model
        status = ask(rig, method, path, bearer(name)).status
        if (status == 403) == may(name, target) or status == 401:
            wrong[method, path] = status, target
    assert wrong == {}


def test_each_role_may_do_what_it_says_and_no_more(rig: GatewayRig) -> None:
    asked = [
        ("POST", "/models/topic/invocations"), ("GET", "/models/topic/version"), ("GET", "/models/topic/ping"),
        ("GET", "/models"), ("GET", "/models/missing/version"), ("POST", "/models/missing/invocations"),
        ("POST", "/v2/models/topic/infer"), ("GET", "/v2/models/topic"), ("POST", "/v2/models/missing/infer"),
        ("POST", "/v1/models/topic:predict"), ("POST", "/v2/repository/models/topic/load"),
    ]  # fmt: skip
    expected = {
        "predict": [200, 200, 200, 200, 404, 404, 200, 200, 404, 200, 400],
        "read": [403, 200, 200, 200, 404, 403, 403, 200, 403, 403, 400],
        "operate": [403, 200, 200, 200, 404, 403, 403, 200, 403, 403, 400],
        "admin": [200, 200, 200, 200, 404, 404, 200, 200, 404, 200, 400],
        "topic": [200, 200, 200, 200, 403, 403, 200, 200, 403, 200, 400],
        "other": [403, 403, 403, 200, 403, 403, 403, 403, 403, 403, 403],
    }
    found = {name: [ask(rig, *one, bearer(name)).status for one in asked] for name in expected}
    assert found == expected


def test_a_refusal_does_not_say_whether_there_is_the_model(rig: GatewayRig) -> None:
    def told(path: str, *headers: str) -> tuple[int, bytes, list[str]]:
        reply = ask(rig, "POST", path, *headers)
        return reply.status, reply.body, sorted(reply.headers)

    for headers in ((), ("Authorization: Bearer wrong",), (bearer("other"),)):
        there, missing = (told(f"/models/{name}/invocations", *headers) for name in ("topic", "missing"))
        assert there == missing
        assert b"topic" not in there[1]
    for method, path in (("POST", "/v2/models/%s/infer"), ("GET", "/v2/models/%s"), ("GET", "/v1/models/%s")):
        first, second = (ask(rig, method, path % name, bearer("other")) for name in ("topic", "missing"))
        assert (first.status, first.body) == (second.status, second.body)
        assert list(first.json()) == ["error"]
    assert ask(rig, "GET", "/v2/models", bearer("other")).json() == {"models": ["other"]}
    assert ask(rig, "GET", "/models", bearer("other")).body.count(b'"name"') == 1
    assert b"topic" not in ask(rig, "GET", "/models", bearer("other")).body
    # The shared port's probe fails, for `other` does not serve; which one is for those who may know of it.
    assert b"other" not in ask(rig, "GET", "/ping").body
    assert b"other" in ask(rig, "GET", "/ping", bearer("other")).body


def test_a_refusal_has_the_protocols_form_and_a_challenge(rig: GatewayRig) -> None:
    missing = ask(rig, "POST", "/invocations", model="topic")
    assert (missing.status, missing.json()["error_code"]) == (401, "UNAUTHENTICATED")
    assert missing.headers["www-authenticate"].startswith("Bearer")
    forbidden = ask(rig, "POST", "/invocations", bearer("read"), model="topic")
    assert (forbidden.status, forbidden.json()["error_code"]) == (403, "PERMISSION_DENIED")
    assert "www-authenticate" not in forbidden.headers


def test_a_body_that_is_not_wanted_is_neither_kept_nor_waited_for(rig: GatewayRig) -> None:
    with rig.client() as client:
        client.send(
            b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 50000000\r\nExpect: 100-continue\r\n\r\n"
        )
        assert client.reply().status == 401
    before = rig.stats()["headrace_request_memory_bytes"]
    with rig.client() as client:
        client.send(b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Length: 5000000\r\n\r\n" + b"x" * 4_999_999)
        assert rig.stats()["headrace_request_memory_bytes"] - before < 100_000
        client.send(b"x")
        assert client.reply().status == 401


def test_a_key_that_is_taken_back_holds_no_more_on_connections_that_are_open(rig: GatewayRig) -> None:
    asked = post(b"1", bearer("topic"))
    with rig.client() as client:
        assert [client.ask(asked).status for _ in range(3)] == [200] * 3  # its head is known by now
        rig.send(Access())
        rig.serve(*rig.workers)
        assert client.ask(asked).status == 401
        rig.send(ACCESS)
        rig.serve(*rig.workers)
        assert client.ask(asked).status == 200


def test_one_key_is_one_header(rig: GatewayRig) -> None:
    """The first counts, as with every header: a proxy before it that looks at the last would be deceived otherwise."""
    wrong = "Authorization: Bearer wrong"
    assert ask(rig, "GET", "/models", wrong, bearer("read")).status == 401
    assert ask(rig, "GET", "/models", bearer("read").replace("Authorization", "aUTHORIZATION")).status == 200


def test_a_worker_never_sees_the_key(rig: GatewayRig) -> None:
    with rig.client() as client:
        assert client.ask(post(b'"seen"', bearer("topic"))).status == 200
    (log,) = [worker.log for worker in rig.workers]
    assert b"seen" in log.read_bytes()
    assert KEYS["topic"][1].encode() not in log.read_bytes()


def test_a_trusted_proxy_vouches_and_nobody_else_does() -> None:
    access = Access(grants=(Grant(name="team-*"),), proxy_header="x-forwarded-user", proxy_addresses=("127.0.0.1/32",))
    limits = messages.Limits(watched_headers=("x-forwarded-user",))
    with GatewayRig(("topic",), limits=limits, access=access) as rig:
        rig.serve(rig.worker("w1"))
        asked = post(b"1", "X-Forwarded-User: team-a")

        def status(source: str, data: bytes) -> list[int]:
            with RawClient(rig.address(), source) as client:
                return [client.ask(data).status for _ in range(3)]

        for _ in range(2):  # what is known of a head from one address says nothing of it from another
            assert status("127.0.0.1", asked) == [200] * 3
            assert status("127.0.0.2", asked) == [401] * 3
        assert status("127.0.0.1", post(b"1", "X-Forwarded-User: stranger")) == [401] * 3
        assert status("127.0.0.1", get("/version")) == [401] * 3


def test_a_clients_certificate_says_who_it_is(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pair = authority.issue("server")
    section = Tls(certificate=pair.certificate, key=pair.key, client_ca=authority.file, client_certificate="optional")
    certificate = check(read(section, "tls"), section, "tls").certificate
    access = Access(grants=(Grant(name="risk-*"), Grant(name="*.audit.bank", roles=("read",))))
    with GatewayRig(("topic",), certificate=certificate, access=access) as rig:
        rig.serve(rig.worker("w1"))

        def statuses(mine: Pair | None) -> list[int]:
            context = ssl.create_default_context(cafile=authority.file)
            if mine is not None:
                context.load_cert_chain(*mine)
            with RawClient(rig.address(), tls=context) as client:
                return [client.ask(data).status for data in (post(b"1"), get("/version"), get("/ping"), post(b"1"))]

        for _ in range(2):  # the same bytes each time: what is known of a head says nothing of another connection
            assert statuses(authority.issue("risk-7", dns=())) == [200, 200, 200, 200]
            assert statuses(authority.issue("one", dns=("a.audit.bank",))) == [403, 200, 200, 403]
            assert statuses(authority.issue("stranger", dns=())) == [401, 401, 200, 401]
            assert statuses(None) == [401, 401, 200, 401]
