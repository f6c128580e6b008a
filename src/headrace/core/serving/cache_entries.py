"""A kept answer as bytes, for a cache that several machines share. No pickle; a version first; anything odd is a miss.

Layout (little endian)::

    magic "HR"  version:u8  status:u16  rows:u32  type_length:u16  body_length:u32  content_type  body

Keys are ``headrace:1:<identity>:<digest>``. The identity names what computed the answer (see `Pool.identity`), the
digest the request: its head as the worker sees it, and its body.
"""

from __future__ import annotations

import struct
from hashlib import blake2b

from headrace_worker.wire import Answer

_VERSION = 1
_HEAD = struct.Struct("<2sBHIHI")
_MAGIC = b"HR"


def encode(answer: Answer) -> bytes:
    """Turn an answer into an entry. Its flags stay behind: only answers without any are kept."""
    size = len(answer.body)
    head = _HEAD.pack(_MAGIC, _VERSION, answer.status, answer.rows, len(answer.content_type), size)
    return b"%b%b%b" % (head, answer.content_type, answer.body)


def decode(entry: bytes) -> Answer | None:
    """Turn an entry into an answer; None for what is not a whole entry of this version with status 200."""
    if len(entry) < _HEAD.size:
        return None
    magic, version, status, rows, type_length, size = _HEAD.unpack_from(entry)
    at = _HEAD.size + type_length
    if magic != _MAGIC or version != _VERSION or status != 200 or len(entry) != at + size:
        return None
    return Answer(status, entry[_HEAD.size : at], entry[at:], rows)


def key(identity: str, head: bytes, body: bytes) -> bytes:
    """Name the entry of a request."""
    digest = blake2b(len(head).to_bytes(4, "little") + head, digest_size=32)
    digest.update(body)
    return b"headrace:1:%b:%b" % (identity.encode("ascii"), digest.hexdigest().encode("ascii"))
