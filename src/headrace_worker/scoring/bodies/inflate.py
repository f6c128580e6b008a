"""Undoing a request's Content-Encoding, with bounds on what comes out and on the parts that it comes in."""

from __future__ import annotations

import re
import zlib

from headrace_worker.scoring.errors.refusal import Refusal

MAX_CODINGS = 4
"""Codings of one body, each of which goes through the whole of it; more than two have no use."""

MAX_MEMBERS = 4096
"""Members of one gzip body: each costs microseconds, however little it holds."""

FIRST_PIECE = 1024
"""Bytes of a member that zlib is given at first. It copies what it does not use, so pieces grow with the member."""

_MAX_PIECE = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = ("gzip", "x-gzip")
_ANY_HEADER = 32 + zlib.MAX_WBITS
_PADDING = re.compile(rb"\0*")
_JSON_START = re.compile(rb"\s*[{\[]")


def inflate(body: bytes, codings: tuple[str, ...], max_bytes: int) -> bytes:
    """Decode `body`; raises Refusal: 413 where more than `max_bytes` come out, 400 where it is damaged.

    A body that says gzip or deflate and is neither passes as it is: proxies that unpack a body and leave the
    header are common, and MLflow, which does not look at the header, takes what they send. Other codings are
    not looked at either, so that such a body is then refused for what it is.
    """
    if len(codings) > MAX_CODINGS:
        message = f"The body has {len(codings)} content codings; at most {MAX_CODINGS} are taken. Compress it once."
        raise Refusal(400, "BAD_REQUEST", message)
    for coding in reversed(codings):
        if coding in _GZIP and body[:2] == _GZIP_MAGIC:
            body = _gunzip(body, max_bytes)
        elif coding == "deflate":
            body = _undeflate(body, max_bytes)
    return body


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    at = members = 0
    room = max_bytes
    while at < len(body):
        members += 1
        if members > MAX_MEMBERS:
            message = f"The gzip body has more than {MAX_MEMBERS} members. Compress it in one piece."
            raise Refusal(400, "BAD_REQUEST", message)
        member, at = _run(zlib.decompressobj(_ANY_HEADER), body, at, room, max_bytes)
        room -= len(member)
        parts.append(member)
        padding = _PADDING.match(body, at)  # padding after a member is legal
        at = padding.end() if padding is not None else at
    return b"".join(parts)


def _undeflate(body: bytes, max_bytes: int) -> bytes:
    # 'deflate' is zlib's format by the standard, and the bare one by the habit of some clients.
    for window_bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            return _run(zlib.decompressobj(window_bits), body, 0, max_bytes, max_bytes)[0]
        except Refusal as refusal:
            if refusal.status == 413:
                raise
    if _JSON_START.match(body):
        return body
    raise Refusal(400, "BAD_REQUEST", "The body is not valid deflate data.")


def _run(unpacker: zlib._Decompress, body: bytes, at: int, room: int, max_bytes: int) -> tuple[bytes, int]:
    """(what comes out of the stream that begins at `at`, where it ends); takes time by its size, not by the body's."""
    view = memoryview(body)
    parts: list[bytes] = []
    piece = FIRST_PIECE
    while not unpacker.eof:
        if at >= len(body):
            raise Refusal(400, "BAD_REQUEST", "The compressed body ends too early.")
        given = view[at : at + piece]
        try:
            out = unpacker.decompress(given, room + 1)
        except zlib.error as error:
            raise Refusal(400, "BAD_REQUEST", f"The compressed body is damaged: {error}") from None
        room -= len(out)
        if room < 0:
            raise Refusal(413, "BODY_TOO_LARGE", f"The body holds more than {max_bytes} bytes after decompression.")
        parts.append(out)
        at += len(given) - len(unpacker.unused_data)
        piece = min(2 * piece, _MAX_PIECE)
    return b"".join(parts), at
