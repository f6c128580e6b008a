"""What a worker says of a frame beside its answers."""

from __future__ import annotations

from typing import Annotated

import msgspec

from headrace.core.protocol.raised import Raised


class Notes(msgspec.Struct):
    """`hazards` of the protocol that it met, whether it will merge requests, and what the model raised."""

    hazards: dict[Annotated[str, msgspec.Meta(max_length=100)], Annotated[int, msgspec.Meta(ge=0, le=2**32)]] = {}
    mergeable: bool = True
    failures: list[Raised] = []


NO_NOTES = Notes()
_decoder = msgspec.json.Decoder(Notes)


def read_notes(notes: bytes) -> Notes:
    """Decode a frame's notes; what is not understood says nothing."""
    try:
        return _decoder.decode(notes)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return NO_NOTES
