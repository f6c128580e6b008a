"""From a record to an entry of the prediction log: what is kept of a request and its answer, and what is not."""

from __future__ import annotations

import zlib
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from headrace.core.protocol.records import Record
from headrace.core.telemetry.redacting import redact
from headrace.recorder.lines import moment
from headrace_worker import wire

MAX_NESTING = 200
"""How deep a body may be to be kept: what reads an entry, or turns it into Parquet, must be able to parse it."""


class Entry(msgspec.Struct, kw_only=True):
    """A line of the log. `omitted` says why `request` or `answer` is null, empty where both are there."""

    time: str
    request_id: str
    model: str
    version: str
    status: int
    latency_s: float
    queue_s: float
    rows: int
    cache: str | None
    content_type: str | None
    request: Any
    answer: Any
    omitted: str


def entry(record: Record, fields: AbstractSet[str], max_body_bytes: int) -> Entry:
    """What is kept of a request, without the values of `fields`; bodies inflate to at most `max_body_bytes`."""
    content_type, encoding, _ = wire.split_head(record.head)
    why: list[str] = []
    if fields and record.request is not None and not _is_json(content_type):
        # Without names there is nothing to redact by, and a line of CSV may well be JSON, too.
        request = None
        why.append("request: not JSON, so nothing can be redacted")
    else:
        body = record.request
        if body is not None and encoding not in {b"", b"identity"}:
            body = _inflated(body, max_body_bytes, why)
        elif body is None:
            why.append("request: too large")
        request = _value(body, fields, "request", why)
    if record.answer is None:
        why.append("answer: too large")
    answer = _value(record.answer, fields, "answer", why)
    if fields and record.status >= 400 and isinstance(answer, dict):
        # What an error says may repeat the input.
        answer = {"error_code": answer.get("error_code")}
    return Entry(
        time=moment(record.arrived_s),
        request_id=record.request_id.decode("ascii", "backslashreplace"),
        model=record.model or "",
        version=record.version,
        status=record.status,
        latency_s=round(record.total_s, 6),
        queue_s=round(record.queue_s, 6),
        rows=record.rows,
        cache=record.cache.decode() or None,
        content_type=content_type.decode("latin-1") if content_type is not None else None,
        request=request,
        answer=answer,
        omitted="; ".join(why),
    )


def _value(body: bytes | None, fields: AbstractSet[str], what: str, why: list[str]) -> Any:
    """A body as data: parsed where it is JSON, as text where it is not; None, and why, where it is not kept."""
    if body is None:
        return None
    try:
        value = msgspec.json.decode(body)
        # Most bodies have fewer brackets than that, let alone one in the other.
        if body.count(b"[") + body.count(b"{") > MAX_NESTING and _is_deeper(value, MAX_NESTING):
            why.append(f"{what}: nested too deeply")
            return None
        return redact(value, fields) if fields else value
    except (msgspec.DecodeError, UnicodeDecodeError):
        if fields:
            why.append(f"{what}: not JSON, so nothing can be redacted")
            return None
        return body.decode("utf-8", "backslashreplace")
    except RecursionError:
        why.append(f"{what}: nested too deeply")
        return None


def _is_json(content_type: bytes | None) -> bool:
    return content_type is not None and b"json" in content_type.lower()


def _is_deeper(value: Any, most: int) -> bool:
    """Whether arrays and objects are more than `most` deep, without being as deep itself."""
    level = [value]
    for _ in range(most + 1):
        level = [one for one in level if isinstance(one, list | dict)]
        if not level:
            return False
        level = [inner for one in level for inner in (one.values() if isinstance(one, dict) else one)]
    return True


def _inflated(body: bytes, most_bytes: int, why: list[str]) -> bytes | None:
    """Gzip or deflate undone as far as `most_bytes`; None, and why, where that is not possible."""
    inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    try:
        made = inflating.decompress(body, most_bytes + 1)
    except zlib.error as error:
        why.append(f"request: {error}")
        return None
    if len(made) > most_bytes:
        why.append("request: too large")
        return None
    if not inflating.eof:
        why.append("request: compressed, and cut off")
        return None
    return made
