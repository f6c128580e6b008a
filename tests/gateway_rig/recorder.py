"""A real recorder process with the supervisor's end of its control channel."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from headrace.core.protocol import framing, messages, records

DEADLINE_S = 60.0
ROOT = Path(__file__).resolve().parents[2]


class RecorderRig:
    """A recorder; lines go to `lines` (None: nowhere), its socket is `path`. `recording`: how a gateway reaches it."""

    def __init__(self, lines: Path | None = None, path: str | None = None, **opened: object) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="hr")
        self.socket = path or str(Path(self._directory.name) / "recorder.sock")
        self.control, theirs = socket.socketpair()
        self.control.settimeout(DEADLINE_S)
        log_fd = os.open(lines or os.devnull, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "headrace.recorder", "--control-fd", str(theirs.fileno())],
            pass_fds=[theirs.fileno(), log_fd],
        )
        theirs.close()
        self._decoder: framing.Decoder[records.FromRecorder] = framing.Decoder(records.FromRecorder)
        self.told: list[records.Told] = []
        self.say(records.Open(socket=self.socket, log_fd=log_fd, text=False, **opened))  # type: ignore[arg-type]
        os.close(log_fd)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        self.control.close()
        self._directory.cleanup()

    def recording(self, **wanted: object) -> messages.Recording:
        """What a gateway is to tell it."""
        return messages.Recording(socket=self.socket, **wanted)  # type: ignore[arg-type]

    def say(self, message: msgspec.Struct) -> None:
        """Say something to the recorder."""
        self.control.sendall(framing.encode(message))

    def counts(self) -> defaultdict[str, float]:
        """What it has counted, by ``log result``."""
        self.say(records.AskSamples(1))
        made: defaultdict[str, float] | None = None
        while made is None:
            for message in self._decoder.feed(self.control.recv(1 << 16)):
                if isinstance(message, records.Samples):
                    made = defaultdict(float)
                    for _, labels, value in message.values:
                        made[" ".join(value for _, value in labels)] += value
                elif isinstance(message, records.Told):
                    self.told.append(message)
        return made

    def finish(self) -> int:
        """Have everything written; the exit code."""
        self.say(records.Finish())
        return self.process.wait(DEADLINE_S)
