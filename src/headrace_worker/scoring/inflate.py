"""Undoing a request's Content-Encoding, with a bound on what comes out."""

from __future__ import annotations

import zlib

from headrace_worker.scoring.refusal import Refusal

_GZIP_MAGIC = b"\x1f\x8b"
_GZIP = ("gzip", "x-gzip")
_ANY_HEADER = 32 + zlib.MAX_WBITS


def inflate(body: bytes, codings: tuple[str, ...], max_bytes: int) -> bytes:
    """Decode `body`; raises Refusal: 413 where more than `max_bytes` come out, 400 where it is damaged.

    A body that says gzip or deflate and is neither passes as it is: proxies that unpack a body and leave the
    header are common, and MLflow, which does not look at the header, takes what they send. Other codings are
    not looked at either, so that such a body is then refused for what it is.
    """
    for coding in reversed(codings):
        if coding in _GZIP and body[:2] == _GZIP_MAGIC:
            body = _gunzip(body, max_bytes)
        elif coding == "deflate":
            body = _undeflate(body, max_bytes)
    return body


def _gunzip(body: bytes, max_bytes: int) -> bytes:
    parts: list[bytes] = []
    room = max_bytes
    while body:
        member, body = _run(zlib.decompressobj(_ANY_HEADER), body, room, max_bytes)
        room -= len(member)
        parts.append(member)
        body = body.lstrip(b"\0")  # padding after a member is legal
    return b"".join(parts)


def _undeflate(body: bytes, max_bytes: int) -> bytes:
    # 'deflate' is zlib's format by the standard, and the bare one by the habit of some clients.
    for window_bits in (zlib.MAX_WBITS, -zlib.MAX_WBITS):
        try:
            return _run(zlib.decompressobj(window_bits), body, max_bytes, max_bytes)[0]
        except Refusal as refusal:
            if refusal.status == 413:
                raise
    if body.lstrip()[:1] in (b"{", b"["):
        return body
    raise Refusal(400, "BAD_REQUEST", "The body is not valid deflate data.")


def _run(unpacker: zlib._Decompress, body: bytes, room: int, max_bytes: int) -> tuple[bytes, bytes]:
    try:
        out = unpacker.decompress(body, room + 1)
    except zlib.error as error:
        raise Refusal(400, "BAD_REQUEST", f"The compressed body is damaged: {error}") from None
    if len(out) > room:
        raise Refusal(413, "BODY_TOO_LARGE", f"The body holds more than {max_bytes} bytes after decompression.")
    if not unpacker.eof:
        raise Refusal(400, "BAD_REQUEST", "The compressed body ends too early.")
    return out, unpacker.unused_data
