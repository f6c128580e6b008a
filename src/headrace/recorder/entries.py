"""From a record to an entry of the prediction log: what is kept of a request and its answer, and what is not."""

from __future__ import annotations

import zlib
from collections.abc import Set as AbstractSet
from typing import Any

import msgspec

from headrace.core.records import Record
from headrace.core.redacting import redact
from headrace.recorder.lines import moment
from headrace_worker import wire

_MAX_INFLATED_BYTES = 1 << 20


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


def entry(record: Record, fields: AbstractSet[str]) -> Entry:
    """What is kept of a request, without the values of `fields`."""
    content_type, encoding, _ = wire.split_head(record.head)
    why: list[str] = []
    if fields and record.request is not None and not _is_json(content_type):
        # Without names there is nothing to redact by, and a line of CSV may well be JSON, too.
        request = None
        why.append("request: not JSON, so nothing can be redacted")
    else:
        request = _value(record.request, encoding, fields, "request", why)
    answer = _value(record.answer, b"", fields, "answer", why)
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


def _value(body: bytes | None, encoding: bytes, fields: AbstractSet[str], what: str, why: list[str]) -> Any:
    """A body as data: parsed where it is JSON, as text where it is not; None, and why, where it is not kept."""
    if body is None:
        why.append(f"{what}: too large")
        return None
    if encoding not in {b"", b"identity"}:
        try:
            body = _inflated(body)
        except (zlib.error, ValueError) as error:
            why.append(f"{what}: {error}")
            return None
    try:
        value = msgspec.json.decode(body)
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


def _inflated(body: bytes) -> bytes:
    """Gzip or deflate undone, up to a bound; raises zlib.error or ValueError."""
    inflating = zlib.decompressobj(wbits=zlib.MAX_WBITS | 32)
    made = inflating.decompress(body, _MAX_INFLATED_BYTES)
    if inflating.unconsumed_tail or not inflating.eof:
        raise ValueError("too large")
    return made
