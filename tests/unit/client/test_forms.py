"""Which form a served model is asked in, as versions come and go."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import pytest

from headrace.client.errors import BadRequest
from headrace.client.forms import Forms
from headrace.client.replies import Reply

REFUSAL = (
    "Request payload must be a dictionary with 'inputs' key when the model contains a valid type hint. "
    "Found keys in payload: dict_keys(['dataframe_records'])."
)


@dataclass(frozen=True)
class Good:
    reply: Reply


class Server:
    """Serves version `version`, made of type hints or not; `sent` is what it was asked."""

    def __init__(self, version: str, *, typed: bool) -> None:
        self.version, self.typed = version, typed
        self.sent: list[bytes] = []

    async def send(self, body: bytes) -> Good:
        self.sent.append(body)
        if self.typed and body != b"rows":
            raise BadRequest(REFUSAL)
        if body == b"wrong":
            raise BadRequest("Failed to enforce schema")
        return Good(Reply(200, {"headrace-model": self.version}, b""))

    def ask(self, forms: Forms, body: bytes = b"frame") -> list[bytes]:
        """Ask once; returns what was sent for it."""
        self.sent = []
        asyncio.run(forms.ask(self.send, body, lambda: b"rows"))
        return self.sent


def test_the_usual_form_is_used_until_it_is_refused_for_type_hints() -> None:
    forms = Forms()
    assert Server("m/1", typed=False).ask(forms) == [b"frame"]
    server = Server("m/2", typed=True)
    assert server.ask(forms) == [b"frame", b"rows"]
    assert server.ask(forms) == [b"rows"], "now it is known"


def test_what_was_learnt_of_one_version_does_not_outlive_it() -> None:
    forms = Forms()
    Server("m/2", typed=True).ask(forms)
    after = Server("m/3", typed=False)
    assert after.ask(forms) == [b"rows", b"frame"], "its answer to rows is not the one to a DataFrame"
    assert after.ask(forms) == [b"frame"]


def test_other_refusals_are_the_callers() -> None:
    forms, server = Forms(), Server("m/1", typed=False)
    with pytest.raises(BadRequest, match="enforce schema"):
        server.ask(forms, b"wrong")
    assert server.sent == [b"wrong"]
