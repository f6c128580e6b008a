"""Coverage-guided fuzzing of what reads headrace's control channels: python fuzz/fuzz_channels.py [libFuzzer options].

The first byte chooses the channel, the second how the rest is cut. What must hold for any bytes: nothing is raised but
the channel's own error, which is the end of the peer; cutting the same bytes differently changes nothing; and what a
worker may not say at that moment is never heard.
"""

from __future__ import annotations

import sys
from typing import Any

import atheris

with atheris.instrument_imports(include=["headrace.core.protocol.framing", "headrace.core.protocol.worker_events"]):
    from headrace.core.protocol import framing, worker_events
    from headrace.core.protocol.messages import FromGateway, ToGateway
    from headrace.core.protocol.records import Batch, FromRecorder, ToRecorder
    from headrace.registry.messages import FromAgent, ToAgent

FRAMED = [FromGateway, ToGateway, FromAgent, ToAgent, FromRecorder, ToRecorder, Batch]
MOST_BYTES = 1 << 16


def hear_frames(kind: Any, pieces: list[bytes]) -> tuple[list[Any], bool]:
    """What was said on a channel of messages, and whether it came to an end."""
    decoder: framing.Decoder[Any] = framing.Decoder(kind)
    heard: list[Any] = []
    for piece in pieces:
        try:
            heard += decoder.feed(piece)
        except framing.FramingError:
            return heard, True
    return heard, False


def hear_worker(pieces: list[bytes]) -> tuple[list[Any], bool]:
    """The same for a worker that was pinged once and told to fork one replica."""
    conversation = worker_events.Conversation()
    conversation.pinged()
    conversation.forked("1")
    heard: list[Any] = []
    for piece in pieces:
        try:
            heard += conversation.feed(piece)
        except worker_events.ProtocolError as error:
            if len(str(error)) > 2_000:
                raise AssertionError(f"an error of {len(str(error))} characters") from None
            return heard, True
    for kind in (worker_events.Hello, worker_events.Pong, worker_events.Exited):
        if sum(isinstance(event, kind) for event in heard) > 1:
            raise AssertionError(f"heard more than once: {heard}")
    return heard, False


def one_input(data: bytes) -> None:
    """Read the same bytes whole and in pieces."""
    if len(data) < 2:
        return
    channel, size, stream = data[0] % (len(FRAMED) + 1), data[1] + 1, data[2:]
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    if channel < len(FRAMED):
        whole, cut = hear_frames(FRAMED[channel], [stream]), hear_frames(FRAMED[channel], pieces)
    else:
        whole, cut = hear_worker([stream]), hear_worker(pieces)
    # What came before a mistake in the same piece is lost with it.
    if whole[1] != cut[1] or (not whole[1] and repr(whole[0]) != repr(cut[0])):
        raise AssertionError(f"cut every {size} bytes: {cut} instead of {whole}")


if __name__ == "__main__":
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
