r"""The framing between a gateway and a worker: the one module that both sides import.

A gateway connects to a worker's Unix socket and sends ``BATCH`` frames; the worker answers each with one
``ANSWERS`` frame, or, for a request that asked for a stream, with ``STREAM_HEAD``, ``STREAM_CHUNK``... and
``STREAM_END``. Bodies are opaque bytes; nothing on this wire is pickled, and no length is trusted before it
is compared with ``max_frame_bytes``.

Layout (little endian), struct of arrays, so that a frame of 256 requests costs a few calls and not 256::

    frame    length:u32 kind:u8 batch_id:u32 payload            length counts what follows it
    BATCH    n:u32 n_heads:u8 (head_length:u16 head)*  head_index:u8[n]  body_length:u32[n]  bodies
    ANSWERS  n:u32 parse_us:u32 predict_us:u32 serialise_us:u32 predicts:u32 cpu_us:u32 delay_us:u32
             notes_length:u32 notes  n_types:u8 (type_length:u16 type)*  type_index:u8[n]
             flags:u8[n]  status:u16[n]  rows:u32[n]  body_length:u32[n]  bodies
    STREAM_HEAD   status:u16 content_type
    STREAM_CHUNK  data
    STREAM_END    status:u16            0: ended well, 1: its last event tells of an error; otherwise it broke off
    CANCEL        (nothing)             gateway to worker: nobody reads this stream any more
    CREDIT        bytes:u32             gateway to worker: so much more of this stream may be sent
    CALL          as BATCH              gateway to worker: to be answered beside others, when it is done
    WAITS         wall_us:u32 cpu_us:u32 delay_us:u32    this CALL has lasted so long, and mostly waits

A stream is sent as fast as it is read, and no faster: a worker may send `STREAM_WINDOW_BYTES` of one, and then what
``CREDIT`` frames allow. While any of it is left the worker may send a whole chunk, of at most `STREAM_CHUNK_BYTES`;
with none left it sends nothing of that stream and is free for other frames. So what a gateway keeps of one stream is
bounded, and so is what it costs a worker that a client reads slowly or not at all.

A *head* is the part of a request's headers that a worker needs, as three lines joined with ``\n``:
``Content-Type``, ``Content-Encoding``, ``Accept``. A missing Content-Type is ``MISSING`` (``\0``), which
differs from an empty one (PROTOCOL: the two are answered differently). Where a request speaks another protocol than
MLflow's, a line that says so comes before the three (see `Spoken`).

Standard library only; Python 3.9 and later.
"""

from __future__ import annotations

import struct
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union  # noqa: UP035 - runs on Python 3.9
from urllib.parse import quote, unquote

BATCH = 1
ANSWERS = 2
STREAM_HEAD = 3
STREAM_CHUNK = 4
STREAM_END = 5
CANCEL = 6
CREDIT = 7
CALL = 8
WAITS = 9
TRACE = 10
SPANS = 11

MISSING = b"\0"

SPOKEN = b"\1"
"""How the head of a request begins that speaks another protocol than MLflow's."""

V1, V2, OPENAI = "v1", "v2", "openai"
"""KServe's V1, the Open Inference Protocol, and OpenAI's dialect, in a head as ``openai/chat`` and so on."""

OCTETS = b"application/octet-stream"
_BINARY = OCTETS + b"; inference-header-content-length="

MAX_FRAME_BYTES = 1 << 30
"""A frame larger than this is a broken peer, not a large request: bodies are bounded far below it."""

MAX_HEADS = 255

STREAM_FAILED = 1
"""A ``STREAM_END`` with this status: the model failed, and the stream's last event says so."""

STREAM_WINDOW_BYTES = 65_536
"""What a worker may send of a stream before the first ``CREDIT``."""

STREAM_CHUNK_BYTES = 65_536
"""What one ``STREAM_CHUNK`` holds at most: larger pieces of the model's are cut."""

FLAG_ERROR_OBJECT = 1
"""The body is a JSON object that the worker made itself: the gateway may append members (the request id)."""

FLAG_HAZARD = 2
"""A hazard of the protocol happened to this request (it is named in the frame's notes)."""

FLAG_MODEL_ERROR = 4
"""The model failed on this request, whatever status it is told with (MLflow's is 400: the caller's)."""

PREFIX = struct.Struct("<IBI")
_LENGTH = struct.Struct("<I")
_BATCH = struct.Struct("<IB")
_ANSWERS = struct.Struct("<8I")
_SHORT = struct.Struct("<H")
_SPENT = struct.Struct("<III")

PREFIX_BYTES = PREFIX.size

_MOST = 0xFFFFFFFF


class WireError(Exception):
    """The peer sent bytes that are not a frame; the connection cannot be used any more."""


class Frame(NamedTuple):
    """One whole frame, still encoded; `payload` is a view that stays valid as long as it is held."""

    kind: int
    batch_id: int
    payload: memoryview


class Batch(NamedTuple):
    """Decoded ``BATCH``: request `i` has head ``heads[head_index[i]]`` and body ``bodies[i]``."""

    heads: List[bytes]  # noqa: UP006
    head_index: bytes
    bodies: List[memoryview]  # noqa: UP006


class Answer(NamedTuple):
    """What a worker says to one request. `rows` is how many input rows it held (0: not known)."""

    status: int
    content_type: bytes
    body: bytes
    rows: int = 0
    flags: int = 0


class Timing(NamedTuple):
    """Where a batch's time went, in microseconds, and how many predict calls it took.

    `cpu_us` is the processor's time that it took, `delay_us` what it could not get although it could have run.
    """

    parse_us: int = 0
    predict_us: int = 0
    serialise_us: int = 0
    predicts: int = 0
    cpu_us: int = 0
    delay_us: int = 0


NO_TIMING = Timing()


class Answers(NamedTuple):
    """Decoded ``ANSWERS``. `notes` is a JSON object in UTF-8 or empty (see docs: hazards, merge refusals)."""

    answers: List[Answer]  # noqa: UP006
    timing: Timing
    notes: bytes


def head(content_type: Optional[bytes], content_encoding: bytes = b"", accept: bytes = b"") -> bytes:  # noqa: UP045
    """Join the three header values to a head; None stands for a header that was not sent."""
    return (MISSING if content_type is None else content_type) + b"\n" + content_encoding + b"\n" + accept


class Spoken(NamedTuple):
    """What protocol a request speaks: V1, V2 or OPENAI. `model` is the name that it calls the model by.

    `header_bytes`: how much of its body is JSON, before tensors in binary; None: all of it.
    """

    protocol: str
    model: str
    header_bytes: Optional[int] = None  # noqa: UP045 - runs on Python 3.8


def spoken_head(spoken: Spoken, value: bytes) -> bytes:
    """The head of a request that speaks another protocol; `value` is what `head` makes of its headers."""
    size = -1 if spoken.header_bytes is None else spoken.header_bytes
    return b"%b%b %d %b\n%b" % (SPOKEN, spoken.protocol.encode(), size, quote(spoken.model, "").encode(), value)


def spoken(value: bytes) -> Optional[Spoken]:  # noqa: UP045
    """What protocol a head says, None for MLflow's. Raises WireError where that line cannot be read."""
    if not value.startswith(SPOKEN) or value.count(b"\n") != 3:
        return None
    try:
        protocol, size, model = value[1 : value.index(b"\n")].decode("ascii").split(" ")
        return Spoken(protocol, unquote(model), int(size) if int(size) >= 0 else None)
    except ValueError as error:
        raise WireError(f"a head with a protocol that cannot be read: {error}") from None


def binary_type(header_bytes: int) -> bytes:
    """The content type of an answer that is JSON for so many bytes, and tensors in binary from there on."""
    return _BINARY + b"%d" % header_bytes


def split_type(content_type: bytes) -> Tuple[bytes, bytes]:  # noqa: UP006
    """(the content type that clients are told, how many bytes of the body are JSON): the latter is empty for most."""
    if not content_type.startswith(_BINARY):
        return content_type, b""
    return OCTETS, content_type[len(_BINARY) :]


def split_head(value: bytes) -> Tuple[Optional[bytes], bytes, bytes]:  # noqa: UP006, UP045
    """Undo `head`; without what protocol is spoken. Raises WireError where there are not three lines."""
    parts = value.split(b"\n")
    if len(parts) == 4 and value.startswith(SPOKEN):
        del parts[0]
    if len(parts) != 3:
        raise WireError(f"a head must have three lines, got {len(parts)}")
    return (None if parts[0] == MISSING else parts[0]), parts[1], parts[2]


def encode_batch(
    batch_id: int, heads: Sequence[bytes], head_index: bytes, bodies: Sequence[bytes], kind: int = BATCH
) -> bytes:
    """Encode a ``BATCH`` or ``CALL`` frame. At most `MAX_HEADS` different heads; `head_index` has one byte a body."""
    return b"".join((*batch_prefix(batch_id, heads, head_index, bodies, kind), *bodies))


def batch_prefix(
    batch_id: int, heads: Sequence[bytes], head_index: bytes, bodies: Sequence[bytes], kind: int = BATCH
) -> Tuple[bytes, ...]:  # noqa: UP006
    """What comes before the bodies in such a frame, for who writes large ones without copying them."""
    n = len(bodies)
    table = b"".join([_SHORT.pack(len(h)) + h for h in heads])
    lengths = list(map(len, bodies))
    size = 5 + _BATCH.size + len(table) + 5 * n + sum(lengths)
    return (
        PREFIX.pack(size, kind, batch_id),
        _BATCH.pack(n, len(heads)),
        table,
        head_index,
        struct.pack(f"<{n}I", *lengths),
    )


def decode_batch(payload: memoryview) -> Batch:
    """Decode the payload of a ``BATCH`` frame; raises WireError if its lengths do not add up."""
    try:
        n, n_heads = _BATCH.unpack_from(payload)
        heads, at = _read_table(payload, _BATCH.size, n_heads)
        index = bytes(payload[at : at + n])
        at += n
        lengths = struct.unpack_from(f"<{n}I", payload, at)
        at += 4 * n
    except struct.error as error:
        raise WireError(f"a short BATCH frame: {error}") from None
    if n and (len(index) != n or max(index) >= n_heads):
        raise WireError("a BATCH frame refers to a head that it does not hold")
    return Batch(heads, index, _slice(payload, at, lengths))


def encode_answers(
    batch_id: int,
    answers: Sequence[Answer],
    timing: Timing = NO_TIMING,
    notes: bytes = b"",
) -> bytes:
    """Encode an ``ANSWERS`` frame: one answer for each request of the batch, in the same order."""
    n = len(answers)
    types: Dict[bytes, int] = {}  # noqa: UP006
    index = bytes([types.setdefault(a.content_type, len(types)) for a in answers])
    table = b"".join([_SHORT.pack(len(t)) + t for t in types])
    bodies = [a.body for a in answers]
    lengths = list(map(len, bodies))
    size = 5 + _ANSWERS.size + len(notes) + 1 + len(table) + 12 * n + sum(lengths)
    return b"".join(
        (
            PREFIX.pack(size, ANSWERS, batch_id),
            _ANSWERS.pack(n, *timing, len(notes)),
            notes,
            bytes((len(types),)),
            table,
            index,
            bytes([a.flags for a in answers]),
            struct.pack(f"<{n}H", *[a.status for a in answers]),
            struct.pack(f"<{n}I", *[a.rows for a in answers]),
            struct.pack(f"<{n}I", *lengths),
            *bodies,
        )
    )


def decode_answers(payload: memoryview) -> Answers:
    """Decode the payload of an ``ANSWERS`` frame; raises WireError if its lengths do not add up."""
    try:
        n, *timing, notes_length = _ANSWERS.unpack_from(payload)
        at = _ANSWERS.size
        notes = bytes(payload[at : at + notes_length])
        at += notes_length
        types, at = _read_table(payload, at + 1, payload[at])
        index = bytes(payload[at : at + n])
        flags = bytes(payload[at + n : at + 2 * n])
        at += 2 * n
        statuses = struct.unpack_from(f"<{n}H", payload, at)
        rows = struct.unpack_from(f"<{n}I", payload, at + 2 * n)
        lengths = struct.unpack_from(f"<{n}I", payload, at + 6 * n)
        at += 10 * n
    except (struct.error, IndexError) as error:
        raise WireError(f"a short ANSWERS frame: {error}") from None
    if n and (len(index) != n or max(index) >= len(types)):
        raise WireError("an ANSWERS frame refers to a content type that it does not hold")
    if n and (min(statuses) < 200 or max(statuses) > 599):
        raise WireError(f"an answer with status {min(statuses)} or {max(statuses)}: neither may be")
    bodies = [bytes(b) for b in _slice(payload, at, lengths)]
    answers = list(map(Answer, statuses, [types[i] for i in index], bodies, rows, flags))
    return Answers(answers, Timing(*timing), notes)


def encode_stream_head(batch_id: int, status: int, content_type: bytes) -> bytes:
    """Encode a ``STREAM_HEAD`` frame."""
    return PREFIX.pack(7 + len(content_type), STREAM_HEAD, batch_id) + _SHORT.pack(status) + content_type


def encode_stream_chunk(batch_id: int, data: Union[bytes, memoryview]) -> bytes:  # noqa: UP007
    """Encode a ``STREAM_CHUNK`` frame; `data` has at most `STREAM_CHUNK_BYTES`."""
    return b"".join((PREFIX.pack(5 + len(data), STREAM_CHUNK, batch_id), data))


def encode_stream_end(batch_id: int, status: int = 0) -> bytes:
    """Encode a ``STREAM_END`` frame; see the module's docstring for `status`."""
    return PREFIX.pack(7, STREAM_END, batch_id) + _SHORT.pack(status)


def encode_cancel(batch_id: int) -> bytes:
    """Encode a ``CANCEL`` frame."""
    return PREFIX.pack(5, CANCEL, batch_id)


def encode_credit(batch_id: int, size_bytes: int) -> bytes:
    """Encode a ``CREDIT`` frame: `size_bytes` more may be sent."""
    return PREFIX.pack(9, CREDIT, batch_id) + _LENGTH.pack(size_bytes)


def decode_credit(payload: memoryview) -> int:
    """Decode the payload of a ``CREDIT`` frame; raises WireError."""
    if len(payload) != _LENGTH.size:
        raise WireError(f"a CREDIT frame of {len(payload)} bytes; there must be {_LENGTH.size}")
    return int(_LENGTH.unpack(payload)[0])


def encode_waits(batch_id: int, wall_us: int, cpu_us: int, delay_us: int) -> bytes:
    """Encode a ``WAITS`` frame: how long a call has lasted, what it took of a processor and what it could not get."""
    spent = (max(0, min(value, _MOST)) for value in (wall_us, cpu_us, delay_us))
    return PREFIX.pack(5 + _SPENT.size, WAITS, batch_id) + _SPENT.pack(*spent)


def decode_waits(payload: memoryview) -> Tuple[int, int, int]:  # noqa: UP006
    """Decode the payload of a ``WAITS`` frame: (wall_us, cpu_us, delay_us); raises WireError."""
    if len(payload) != _SPENT.size:
        raise WireError(f"a WAITS frame of {len(payload)} bytes; there must be {_SPENT.size}")
    wall_us, cpu_us, delay_us = _SPENT.unpack(payload)
    return wall_us, cpu_us, delay_us


def decode_status(payload: memoryview) -> Tuple[int, bytes]:  # noqa: UP006
    """Decode the payload of ``STREAM_HEAD`` or ``STREAM_END``: (status, the rest)."""
    if len(payload) < 2:
        raise WireError("a short stream frame")
    return _SHORT.unpack_from(payload)[0], bytes(payload[2:])


class FrameReader:
    """Cuts a byte stream into frames; feed it what the socket gave, in any pieces."""

    def __init__(self, max_frame_bytes: int = MAX_FRAME_BYTES) -> None:
        self._buffer = bytearray()
        self._need = 4
        self._max_frame_bytes = max_frame_bytes

    def feed(self, data: bytes) -> List[Frame]:  # noqa: UP006
        """Take more bytes; return the frames that are whole now. Raises WireError for an impossible length."""
        buffer = self._buffer
        if not buffer and len(data) >= PREFIX_BYTES:
            # The usual case: the peer's whole frame in one read, nothing copied.
            (length,) = _LENGTH.unpack_from(data)
            if length + 4 == len(data):
                self._check(length)
                _, kind, batch_id = PREFIX.unpack_from(data)
                return [Frame(kind, batch_id, memoryview(data)[PREFIX_BYTES:])]
        buffer += data
        if len(buffer) < self._need:
            return []
        frames: List[Frame] = []  # noqa: UP006
        at, end = 0, len(buffer)
        while end - at >= 4:
            (length,) = _LENGTH.unpack_from(buffer, at)
            self._check(length)
            if end - at < length + 4:
                self._need = length + 4
                break
            _, kind, batch_id = PREFIX.unpack_from(buffer, at)
            frames.append(Frame(kind, batch_id, memoryview(bytes(buffer[at + PREFIX_BYTES : at + length + 4]))))
            at += length + 4
        else:
            self._need = 4
        del buffer[:at]
        return frames

    def _check(self, length: int) -> None:
        if not 5 <= length <= self._max_frame_bytes:
            raise WireError(f"a frame of {length} bytes; at least 5 and at most {self._max_frame_bytes} are possible")


def _read_table(payload: memoryview, at: int, n: int) -> Tuple[List[bytes], int]:  # noqa: UP006
    entries = []
    for _ in range(n):
        (length,) = _SHORT.unpack_from(payload, at)
        entries.append(bytes(payload[at + 2 : at + 2 + length]))
        at += 2 + length
    return entries, at


def _slice(payload: memoryview, at: int, lengths: Sequence[int]) -> List[memoryview]:  # noqa: UP006
    if at + sum(lengths) != len(payload):
        raise WireError("a frame's body lengths do not add up to its length")
    parts = []
    for length in lengths:
        parts.append(payload[at : at + length])
        at += length
    return parts
