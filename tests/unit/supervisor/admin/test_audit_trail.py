"""What strangers send to the admin port does not fill the audit file."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from headrace.config.load import parse
from headrace.supervisor.admin.audit_trail import AuditTrail, RefusalNotes
from headrace.supervisor.app import Supervisor
from headrace.supervisor.audit import AuditFile
from headrace.telemetry.logs import make_log


def opened(path: Path) -> AuditFile:
    file = AuditFile(path, make_log(stream=io.StringIO()))
    file.open()
    return file


def entries(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def refuse(audit: AuditFile, addresses: list[str]) -> None:
    notes = RefusalNotes(audit)
    for address in addresses:
        notes.note({"client": (address, 1), "method": "POST", "path": "/"}, "missing", "")


def test_refusals_are_bounded_however_many_addresses_they_come_from(tmp_path: Path) -> None:
    audit = opened(tmp_path / "audit.jsonl")
    refuse(audit, ["10.0.0.1"] * 50 + [f"2001:db8::{number:x}" for number in range(3_000)])
    audit.close()
    found = entries(tmp_path / "audit.jsonl")
    assert [entry["whence"] for entry in found[:2]] == ["10.0.0.1", "2001:db8::0"]
    assert len(found) == 1_000 + 2, "a thousand, all others as one, and that it was stopped"


@pytest.mark.parametrize(
    ("method", "path", "lines"),
    [
        ("POST", "/api/models/m/refresh", 2),
        ("POST", "/api/models/m/try", 0),
        ("POST", "/hooks/mlflow", 0),
        ("GET", "/api/models/m/refresh", 0),
        ("POST", "/sign-in", 0),
        ("POST", "/sign-in/with/corp", 0),
        ("PUT", "/sign-out", 0),
        ("POST", "/static/dashboard.css", 0),
    ],
)
def test_what_changes_nothing_is_left_out(tmp_path: Path, method: str, path: str, lines: int) -> None:
    audit = opened(tmp_path / "audit.jsonl")
    server = Supervisor(parse({"models": {"m": {"uri": "models:/m/1", "port": 0}}}), make_log(stream=io.StringIO()))

    async def done(_: Any) -> Response:
        await asyncio.sleep(0)
        return Response("done")

    app = AuditTrail(Starlette(routes=[Route("/{path:path}", done, methods=[method])]), server, audit)

    async def ask() -> str:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
            return (await client.request(method, path)).text

    assert asyncio.run(ask()) == "done"
    audit.close()
    assert len(entries(tmp_path / "audit.jsonl")) == lines + 1
