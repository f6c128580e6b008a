"""Which parser a request's headers ask for; the rules and texts are those of MLflow's scoring server.

Wider than MLflow in three places (docs: coming-from-mlflow): a missing Content-Type is taken for JSON, media
types and parameter names are compared without regard to case, and a quoted charset is understood.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace_worker import wire
from headrace_worker.scoring.errors.refusal import Refusal

CSV = "text/csv"
JSON = "application/json"
PARQUET = "application/vnd.apache.parquet"
TENSORS = "tensors"
EVENT_STREAM = "text/event-stream"


class Media(NamedTuple):
    """A head, read: `kind` is CSV, JSON or PARQUET; `codings` are the content codings, outermost last.

    `spoken`: the request speaks that protocol. `kind` is TENSORS for an inference request, JSON for V1.
    """

    kind: str
    codings: tuple[str, ...]
    wants_stream: bool
    spoken: wire.Spoken | None = None

    @property
    def is_plain_json(self) -> bool:
        """Whether the body is JSON as it stands."""
        return self.kind == JSON and not self.codings and self.spoken is None

    @property
    def is_dialect(self) -> bool:
        """Whether the request speaks OpenAI's dialect."""
        return self.spoken is not None and self.spoken.protocol.startswith(wire.OPENAI)


def read_head(head: bytes, supported: tuple[str, ...], protocol_change: str) -> Media:
    """Read a head of wire.py; raises Refusal (415) where MLflow answers 415.

    `supported` are the media types that this environment's MLflow knows, in its order; `protocol_change` is
    its text about clients of the protocol before MLflow 2.0.
    """
    raw_type, raw_coding, raw_accept = wire.split_head(head)
    if (spoken := wire.spoken(head)) is not None:
        kind = TENSORS if spoken.protocol == wire.V2 else JSON
        streams = spoken.protocol.startswith(wire.OPENAI) and raw_accept == EVENT_STREAM.encode()
        streams |= kind == TENSORS and _accepts_stream(raw_accept.decode("latin-1").lower())
        return Media(kind, _codings(raw_coding), wants_stream=streams, spoken=spoken)
    kind = JSON if raw_type is None else _media_type(raw_type.decode("latin-1"), supported, protocol_change)
    return Media(kind, _codings(raw_coding), _accepts_stream(raw_accept.decode("latin-1").lower()))


def _codings(raw: bytes) -> tuple[str, ...]:
    return tuple(coding for coding in (c.strip() for c in raw.decode("latin-1").lower().split(",")) if coding)


def _media_type(content_type: str, supported: tuple[str, ...], protocol_change: str) -> str:
    mime, *pairs = (part.strip() for part in content_type.split(";"))
    parameters = {name.strip(): value.strip() for name, _, value in (pair.partition("=") for pair in pairs)}
    known = {name.lower(): value for name, value in parameters.items()}
    charset = known.get("charset", "utf-8").lower()
    if charset.strip('"') != "utf-8":
        raise Refusal(415, None, "The scoring server only supports UTF-8")
    unexpected = [name for name in parameters if name.lower() != "charset"]
    if unexpected:
        raise Refusal(415, None, f"Unrecognized content type parameters: {', '.join(unexpected)}. {protocol_change}")
    kind = mime.lower()
    if kind not in supported:
        raise Refusal(
            415,
            None,
            f"This predictor only supports the following content types: Types: {list(supported)}."
            f" Got '{content_type}'.",
        )
    return kind


def _accepts_stream(accept: str) -> bool:
    """Whether a client asks for server-sent events by name; ``*/*`` asks for nothing in particular."""
    for entry in accept.split(","):
        mime, *parameters = (part.strip() for part in entry.split(";"))
        if mime == EVENT_STREAM:
            return not any(p.replace(" ", "") in ("q=0", "q=0.0", "q=0.00", "q=0.000") for p in parameters)
    return False
