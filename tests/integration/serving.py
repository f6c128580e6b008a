"""Starts a real `headrace serve` for a test, reads its log as events, and leaves nothing running."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psutil
import yaml

from tests.processes import command, family, tied

HEADRACE = str(Path(sys.executable).with_name("headrace"))
PATIENCE_S = 150.0
JSON = {"Content-Type": "application/json"}


class Answer(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def ask(url: str, body: Any = None, *, method: str | None = None, headers: dict[str, str] | None = None) -> Answer:
    """One request on a connection of its own; `body` becomes JSON. Raises OSError when nothing answers."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=PATIENCE_S)
    try:
        data = None if body is None else json.dumps(body).encode()
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(
            method or ("GET" if data is None else "POST"), target, data, headers or (JSON if data else {})
        )
        response = connection.getresponse()
        return Answer(response.status, {k.lower(): v for k, v in response.getheaders()}, response.read())
    finally:
        connection.close()


def until(condition: Callable[[], Any], what: str, patience_s: float = PATIENCE_S) -> Any:
    """Wait until `condition` gives something true, and return that; fails with `what` when patience ends."""
    deadline = time.monotonic() + patience_s
    pause_s = 0.01
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            if found := condition():
                return found
        time.sleep(pause_s)
        pause_s = min(pause_s * 1.25, 0.1)  # what takes longer is not made slower by being asked after
    raise AssertionError(f"waited {patience_s:g} s for {what}")


class Serving:
    """A running `headrace serve`."""

    def __init__(self, arguments: list[str], directory: Path, environ: dict[str, str] | None = None) -> None:
        self.events: list[dict[str, Any]] = []
        self.other_lines: list[str] = []
        self._news = threading.Condition()
        self.process = subprocess.Popen(
            tied([HEADRACE, "serve", *arguments, "--log-format", "json", "--log-level", "debug"]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HEADRACE_HOME": str(directory / "home"), "HOME": str(directory), **(environ or {})},
            start_new_session=True,
        )
        self._seen: set[int] = set()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.output = ""

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            with self._news:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.other_lines.append(line.rstrip())
                self._news.notify_all()

    def event(self, name: str, *, after: int = 0, **fields: Any) -> dict[str, Any]:
        """Wait for a logged event with these fields; `after` skips that many events from the start."""
        deadline = time.monotonic() + PATIENCE_S
        with self._news:
            while True:
                for event in self.events[after:]:
                    if event["event"] == name and all(event.get(k) == v for k, v in fields.items()):
                        return event
                left_s = deadline - time.monotonic()
                if left_s <= 0 or (self.process.poll() is not None and not self._reader.is_alive()):
                    raise AssertionError(f"no event {name!r} {fields} in {self.events} {self.other_lines}")
                self._news.wait(min(left_s, 0.2))

    def url(self, model: str) -> str:
        """Where a model is served, once it is settled."""
        return str(self.event("up", model=model)["address"])

    @property
    def admin(self) -> str:
        """The admin port's URL."""
        return str(self.event("admin")["address"])

    def status(self, model: str) -> dict[str, Any]:
        """A model's entry in the admin API."""
        found: dict[str, Any] = ask(f"{self.admin}/api/models/{model}").json
        return found

    def processes(self, role: str) -> list[psutil.Process]:
        """The living processes with `role` in their command line: `headrace.gateway`, `role=host`, `role=replica`..."""
        return [process for process in family(self.process.pid) if role in command(process)]

    @property
    def supervisor(self) -> int:
        """The process id of the supervisor that runs; that of `process` is its keeper's."""
        found: psutil.Process = until(lambda: next(iter(self.processes("headrace.supervisor")), None), "a supervisor")
        return found.pid

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Signal it and wait; returns the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        """Wait for its end; returns the exit code."""
        assert self.process.stdout is not None
        self.output += self.process.stdout.read()
        code = self.process.wait(PATIENCE_S)
        self._reader.join(PATIENCE_S)
        return code


@contextlib.contextmanager
def serving(
    directory: Path, config: dict[str, Any] | None = None, *arguments: str, environ: dict[str, str] | None = None
) -> Iterator[Serving]:
    """Run `headrace serve` with a configuration or arguments; afterwards nothing of it may be left."""
    directory.mkdir(parents=True, exist_ok=True)
    if config is not None:
        file = directory / "headrace.yaml"
        file.write_text(yaml.safe_dump(config), encoding="utf-8")
        arguments = ("--config", str(file), *arguments)
    one = Serving(list(arguments), directory, environ)
    running: list[psutil.Process] = []
    try:
        yield one
        if one.process.poll() is None:
            running = family(one.process.pid)
    finally:
        if one.process.poll() is None:
            one.process.send_signal(signal.SIGTERM)
            try:
                one.process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                one.process.kill()
                one.process.wait()
        one._reader.join(PATIENCE_S)
        for stream in (one.process.stdout, one.process.stderr):
            if stream:
                stream.close()
    _, left = psutil.wait_procs(running, timeout=PATIENCE_S)
    assert not left, f"left running: {left}"
