"""The registry agent: a process of its own, because MLflow's client is heavy, blocks, and may hang.

    python -m headrace.registry --control-fd N JSON

It answers `Resolve`, `Fetch`, `List` and `Promote` on the control channel, each in a thread; its death or slowness
touches no request.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import resource
import shutil
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

from headrace.config.secrecy import make_undumpable
from headrace.core.errors import HeadraceError, ModelNotFound, UsageError
from headrace.core.identity import Resolved, parse_model_uri
from headrace.core.protocol import framing
from headrace.core.protocol.liveness import Ping, Pong
from headrace.registry import directory
from headrace.registry.messages import Done, Failed, Fetch, FromAgent, Kind, List, Promote, Resolve, ToAgent
from headrace.registry.resolver import Resolver
from headrace.registry.store import Store

_MOST_MEMORY_BYTES = 1 << 30
"""MLflow reads an answer whole, of any length: beyond this the question fails, instead of the machine."""
_MOST_MESSAGE_CHARACTERS = 2_000
_COLLECT_AFTER = 100_000
"""Objects, not Python's 700: most of what this process ever makes are MLflow's modules, and looking through those again
and again while they are imported takes a seventh of its start."""
_KEPT_FREE_BYTES = 1 << 30
"""Of the disk, by every file that is fetched: one that has no end must not fill the disk that others write to."""


class Agent:
    """Answers requests in any order; `resolver` is made on first use, so that a cached version needs no mlflow."""

    def __init__(self, channel: socket.socket, settings: dict[str, Any]) -> None:
        self._channel = channel
        self._settings = settings
        self._send_lock = threading.Lock()
        self._resolver_lock = threading.Lock()
        self._resolver: Resolver | None = None
        self._most_file_bytes: int | None = None
        self._store = Store(Path(settings["home"]), settings["registry_key"], _tell)

    def run(self) -> NoReturn:
        """Serve until the supervisor closes the channel, then end at once, without waiting for the threads."""
        decoder: framing.Decoder[ToAgent] = framing.Decoder(ToAgent)
        # Questions and downloads apart: a download that hangs keeps nobody from asking.
        asking = ThreadPoolExecutor(max_workers=4, thread_name_prefix="asking")
        fetching = ThreadPoolExecutor(max_workers=4, thread_name_prefix="fetching")
        fetching.submit(self._store.sweep, time.time())
        if self._settings["warm"]:
            asking.submit(self._warm)
        while data := self._channel.recv(65536):
            for request in decoder.feed(data):
                if isinstance(request, Ping):
                    self._send(Pong())
                else:
                    (fetching if isinstance(request, Fetch) else asking).submit(self._answer, request)
        os._exit(0)

    def _warm(self) -> None:
        try:
            self._ask()
        except HeadraceError:
            return  # said again, and told, with the first request

    def _ask(self) -> Resolver:
        with self._resolver_lock:
            if self._resolver is None:
                self._resolver = Resolver(
                    self._settings["tracking_uri"],
                    self._settings["registry_uri"],
                    self._settings["timeout_s"],
                )
            return self._resolver

    def _bring(self, resolved: Resolved, incoming: Path) -> Path:
        self._bound_files(incoming)
        source = parse_model_uri(resolved.uri).directory and resolved.source
        return directory.copy(source, incoming) if source else self._ask().download(resolved, incoming)

    def _bound_files(self, where: Path) -> None:
        """Have the kernel refuse this process a file that would not leave room on the disk of `where`.

        Writing on is EFBIG then. Where there is less than twice as much as is kept, half of it may be used: a model
        need not be large. A lower limit that somebody else has set stays.
        """
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        free_bytes = shutil.disk_usage(where).free
        room_bytes = max(free_bytes - _KEPT_FREE_BYTES, free_bytes // 2)
        others = hard if soft == self._most_file_bytes else soft
        self._most_file_bytes = room_bytes if others == resource.RLIM_INFINITY else min(room_bytes, others)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self._most_file_bytes, hard))

    def _answer(self, request: Resolve | Fetch | List | Promote) -> None:
        answer: FromAgent
        try:
            if isinstance(request, Resolve):
                resolved = directory.resolve(parse_model_uri(request.uri)) or self._ask().resolve(request.uri)
                self._store.remember(resolved)
                answer = Done(id=request.id, resolved=resolved)
            elif isinstance(request, List):
                listed = self._ask().list_models(request.alias, request.at_most)
                self._store.remember_listed(request.alias, listed)
                answer = Done(id=request.id, listed=listed)
            elif isinstance(request, Promote):
                former = self._ask().promote(request.name, request.alias, request.version)
                answer = Done(id=request.id, former=former)
            else:
                stored = self._store.find(request.resolved) or self._store.add(
                    request.resolved, lambda incoming: self._bring(request.resolved, incoming)
                )
                answer = Done(id=request.id, stored=stored)
        except ModelNotFound as error:
            answer = _failed(request.id, "not_found", str(error))
        except UsageError as error:
            answer = _failed(request.id, "usage", str(error))
        except HeadraceError as error:
            answer = _failed(request.id, "unavailable", str(error))
        except Exception as error:  # noqa: BLE001 - a request must be answered, whatever happens
            answer = _failed(request.id, "unavailable", f"{type(error).__name__}: {error}")
        self._send(answer)

    def _send(self, answer: FromAgent) -> None:
        with self._send_lock:
            self._channel.sendall(framing.encode(answer))


def _failed(number: int, kind: Kind, message: str) -> Failed:
    return Failed(id=number, kind=kind, message=message[:_MOST_MESSAGE_CHARACTERS])


def _bound_memory() -> None:
    """Have the kernel refuse this process more than it can need; a lower limit that is there stays."""
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    if soft == resource.RLIM_INFINITY or soft > _MOST_MEMORY_BYTES:
        resource.setrlimit(resource.RLIMIT_DATA, (_MOST_MEMORY_BYTES, hard))


def _tell(repaired: str) -> None:
    """Say it on standard error, which the supervisor passes on to the log."""
    sys.stderr.write(f"cache repaired: {repaired}\n")
    sys.stderr.flush()


def main() -> NoReturn:
    """Start the agent with the descriptor that the supervisor passed on."""
    make_undumpable()
    _bound_memory()
    gc.set_threshold(_COLLECT_AFTER)
    parser = argparse.ArgumentParser(prog="python -m headrace.registry")
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("settings", type=json.loads)
    arguments = parser.parse_args()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Agent(socket.socket(fileno=arguments.control_fd), arguments.settings).run()


if __name__ == "__main__":
    main()
