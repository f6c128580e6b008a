"""What the gateway answers by itself in OpenAI's dialect, as OpenAI's own client understands it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import openai
import pytest

from headrace.core.protocol import messages
from headrace.core.security.access import Access
from headrace.core.security.keys import make
from headrace.core.security.quotas import Quota
from headrace.core.security.roles import Grant
from tests.gateway_rig.client import post
from tests.gateway_rig.rig import GatewayRig, wait_until

KEYS = {
    name: make(bytes([number]) * 56, Grant(name=name, roles=(role,), models=(pattern,)))  # type: ignore[arg-type]
    for number, (name, role, pattern) in enumerate(
        [("all", "predict", "*"), ("slow", "predict", "*"), ("other", "predict", "other"), ("read", "read", "*")]
    )
}
HELLO: Any = [{"role": "user", "content": "hello"}]


@pytest.fixture(scope="module")
def rig() -> Iterator[GatewayRig]:
    access = Access(keys=tuple(key for key, _ in KEYS.values()))
    limits = messages.Limits(max_body_bytes=10_000)
    with GatewayRig(("topic", None), access=access, limits=limits) as rig:
        rig.quotas = (Quota(who="slow", requests_per_s=0.001),)
        rig.table(
            [messages.Route(model="topic", pool="1"), messages.Route(model="idle")],
            [rig.pool("1", rig.worker("w1"))],
        )
        yield rig


@pytest.fixture
def client(rig: GatewayRig) -> Iterator[Callable[..., Any]]:
    """Makes clients with a key, of the port of a model (None: the shared one)."""
    with contextlib.ExitStack() as made:

        def make_one(key: str = "all", model: str | None = None) -> Any:
            host, port = rig.address(model)
            shown = KEYS[key][1] if key in KEYS else key
            return made.enter_context(openai.OpenAI(base_url=f"http://{host}:{port}/v1", api_key=shown, max_retries=0))

        yield make_one


@pytest.mark.parametrize(
    ("key", "asked", "status", "kind", "code"),
    [
        ("nobody", {}, 401, "authentication_error", "invalid_api_key"),
        ("read", {}, 403, "permission_error", "permission_denied"),
        ("other", {}, 403, "permission_error", "permission_denied"),
        ("all", {"model": "missing"}, 404, "invalid_request_error", "not_found"),
        ("all", {"model": "x" * 5000}, 404, "invalid_request_error", "not_found"),
        ("all", {"model": ""}, 400, "invalid_request_error", "bad_request"),
        ("all", {"model": 7}, 400, "invalid_request_error", "bad_request"),
        ("all", {"user": "x" * 20_000}, 413, "invalid_request_error", "body_too_large"),
        ("all", {"model": "idle"}, 503, "server_error", "temporarily_unavailable"),
        (
            "all",
            {"extra_headers": {"Content-Encoding": "gzip"}},
            415,
            "invalid_request_error",
            "unsupported_media_type",
        ),
    ],
)
def test_errors_have_the_dialects_form(
    client: Callable[..., Any], key: str, asked: dict[str, Any], status: int, kind: str, code: str
) -> None:
    with pytest.raises(openai.APIStatusError) as caught:
        client(key).chat.completions.create(**{"model": "topic", "messages": HELLO, **asked})
    error = caught.value
    assert (error.status_code, error.type, error.code, error.param) == (status, kind, code, None)
    assert "topic" not in error.message or key == "all"


def test_what_a_key_may_not_ask_is_counted(rig: GatewayRig, client: Callable[..., Any]) -> None:
    before = rig.stats()["headrace_access_refused_total"]
    with pytest.raises(openai.PermissionDeniedError):
        client("other").embeddings.create(model="topic", input="a")
    assert rig.stats()["headrace_access_refused_total"] == before + 1


def test_a_limit_says_when_to_come_again(client: Callable[..., Any]) -> None:
    asked = {"model": "topic", "messages": HELLO}
    slow = client("slow", "topic")
    slow.chat.completions.create(**asked)
    with pytest.raises(openai.RateLimitError) as caught:
        slow.chat.completions.create(**asked)
    assert (caught.value.type, caught.value.code) == ("rate_limit_error", "rate_limit_exceeded")
    assert int(caught.value.response.headers["retry-after"]) > 900


def test_an_answer_that_is_late_is_told(rig: GatewayRig, client: Callable[..., Any]) -> None:
    gate = rig.directory / "gate"
    with rig.client() as held:
        held.send(post(b"!wait %b" % str(gate).encode(), f"Authorization: Bearer {KEYS['all'][1]}"))
        wait_until(lambda: rig.stats()["headrace_in_flight_requests"] == 1, "the worker is busy")
        with pytest.raises(openai.InternalServerError) as caught:
            client(model="topic").chat.completions.create(
                model="any", messages=HELLO, extra_headers={"Request-Timeout-Ms": "100"}
            )
        gate.touch()
        assert held.reply().status == 200
    assert (caught.value.status_code, caught.value.code) == (504, "deadline_exceeded")


def test_models_are_listed_as_each_may_know_of_them(client: Callable[..., Any]) -> None:
    assert [model.id for model in client("all").models.list()] == ["idle", "topic"]
    assert [model.id for model in client("read", "topic").models.list()] == ["topic"]
    assert client().models.retrieve("topic").object == "model"
    with pytest.raises(openai.NotFoundError):
        client().models.retrieve("missing")


def test_a_client_asks_again_until_there_is_a_worker() -> None:
    with GatewayRig(("topic",)) as rig, ThreadPoolExecutor(1) as threads:
        rig.serve()
        host, port = rig.address()
        with openai.OpenAI(base_url=f"http://{host}:{port}/v1", api_key="none", max_retries=100) as asker:
            answer = threads.submit(asker.chat.completions.create, model="topic", messages=HELLO)
            wait_until(lambda: rig.stats()["headrace_requests_total"] > 0, "it was refused once")
            rig.serve(rig.worker("w1"))
            assert answer.result(120)
        assert [json.loads(body) for body in rig.workers[0].bodies()] == [{"model": "topic", "messages": HELLO}]
