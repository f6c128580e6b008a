"""The access log and the slow log: one line a request on the log's own stream, for programs or for people."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Callable
from typing import Any

import msgspec

from headrace.core.escaping import printable_json
from headrace.core.protocol.records import ACCESS, SLOW, Record
from headrace.telemetry.logs import ForPeople

_PIPE_BUF_BYTES = 4096
"""What a pipe takes whole (POSIX PIPE_BUF on Linux): so lines of several processes never mix."""


class LineWriter:
    """Writes to the descriptor `fd`. `tell` is told once when that fails."""

    held = 0

    def __init__(self, fd: int, *, text: bool, tell: Callable[..., None]) -> None:
        self._fd = fd
        self._tell = tell
        self._failing = False
        self._render: Callable[[dict[str, Any]], bytes] = _Terminal(fd) if text else _json

    def write(self, records: list[Record]) -> int:
        """See `Writer`."""
        lines: list[bytes] = []
        for record in records:
            if record.wanted_by & ACCESS:
                lines.append(self._render(access_line(record)))
            if record.wanted_by & SLOW:
                lines.append(self._render(slow_line(record)))
        try:
            for part in _parts(lines):
                _write_all(self._fd, part)
        except OSError as error:
            if not self._failing:
                self._tell("error", "access log failing", reason=error.strerror)
            self._failing = True
            return 0
        self._failing = False
        return len(records)

    def tick(self) -> int:
        """See `Writer`."""
        return 0

    def close(self) -> int:
        """See `Writer`."""
        return 0


def access_line(record: Record) -> dict[str, Any]:
    """One request: what was asked, what was answered, and how long it took. Nothing of its body, query or headers."""
    line = _about(record, "request", "info")
    line["method"] = _text(record.method)
    line["path"] = _text(record.path)
    line["rows"] = record.rows
    line["bytes_in"] = record.bytes_in
    line["bytes_out"] = record.bytes_out
    line["queue_s"] = round(record.queue_s, 6)
    line["predict_s"] = record.predict_us / 1e6
    line["total_s"] = round(record.total_s, 6)
    line["cache"] = _text(record.cache) or None
    line["client"] = _text(record.client) or None
    return line


def slow_line(record: Record) -> dict[str, Any]:
    """Where a slow request's time went. `worker_s` is with the worker; the other three are of the whole batch."""
    line = _about(record, "slow request", "warning")
    line["total_s"] = round(record.total_s, 6)
    line["queue_s"] = round(record.queue_s, 6)
    line["worker_s"] = round(record.worker_s, 6)
    line["parse_s"] = record.parse_us / 1e6
    line["predict_s"] = record.predict_us / 1e6
    line["serialise_s"] = record.serialise_us / 1e6
    line["batch_requests"] = record.batch_requests
    line["rows"] = record.rows
    return line


def moment(unix_s: float) -> str:
    """A moment in UTC, as in every other line of the log."""
    return dt.datetime.fromtimestamp(unix_s, dt.UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _about(record: Record, event: str, level: str) -> dict[str, Any]:
    line: dict[str, Any] = {
        "event": event,
        "level": level,
        "timestamp": moment(record.arrived_s),
        "request_id": _text(record.request_id) or None,
        "model": record.model,
        "version": record.version or None,
        "route": record.route,
        "status": record.status,
    }
    if record.error:
        line["error_code"] = record.error
    if record.model_error:
        line["model_error"] = True
    if record.trace is not None:
        line["trace_id"] = record.trace.trace_id.hex()
    return line


def _json(line: dict[str, Any]) -> bytes:
    return printable_json(msgspec.json.encode(line).decode()).encode()


def _text(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")


def _parts(lines: list[bytes]) -> list[bytes]:
    """Lines joined, as many as a pipe takes whole."""
    parts: list[bytes] = []
    held: list[bytes] = []
    size = 0
    for line in lines:
        if size + len(line) + 1 > _PIPE_BUF_BYTES and held:
            parts.append(b"\n".join(held) + b"\n")
            held, size = [], 0
        held.append(line)
        size += len(line) + 1
    if held:
        parts.append(b"\n".join(held) + b"\n")
    return parts


def _write_all(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data) :]


class _Terminal:
    """Lines for people, as the rest of the log has them."""

    def __init__(self, fd: int) -> None:
        self._renderer = ForPeople(colors=os.isatty(fd))

    def __call__(self, line: dict[str, Any]) -> bytes:
        at = dt.datetime.fromisoformat(line["timestamp"]).astimezone()
        shown = {**line, "timestamp": at.strftime("%H:%M:%S")}
        return self._renderer(None, "", shown).encode()
