"""The headrace of one node: kept running, told what to serve, and asked how it is. It knows nothing of Ray."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from headrace.cluster import tied
from headrace.cluster.order import Order
from headrace.config.places import replace_file

State = Literal["idle", "starting", "serving", "draining", "failed"]

_LOOK_S = 0.1
_HEALTHY_S = 30.0
_MOST_WAIT_S = 30.0
_LAST_WORDS_S = 2.0
_MOST_CHARACTERS = 300


class Member:
    """Runs `headrace serve` for the node with this `address`, in `directory`, with these variables.

    One thread of its own starts, hears and replaces the process, which ends in order when that thread ends. What the
    process says of itself (`told`) comes as systemd would get it.
    """

    def __init__(self, address: str, directory: Path, environ: Mapping[str, str]) -> None:
        self.state: State = "idle"
        self.told = ""
        self.generation: int | None = None
        """That of the order that is in force, or was refused (`told` says so); None: none is."""
        self._address = address
        self._file = directory / "cluster.yaml"
        self._environ = environ
        self._order: Order | None = None
        self._given: Order | None = None
        self._lines: deque[str] = deque(maxlen=20)
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._started_s = self._not_before_s = 0.0
        self._deaths = 0
        self._lock = threading.Lock()
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._private = tempfile.TemporaryDirectory(prefix="headrace-")
        self._news = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._news.bind(f"{self._private.name}/notify")
        threading.Thread(target=self._keep, daemon=True, name="headrace").start()

    @property
    def pid(self) -> int | None:
        """The process's id; None: none runs."""
        process = self._process
        return None if process is None else process.pid

    def serve(self, order: Order | None) -> None:
        """Serve this from now on; None: finish what is under way, and serve nothing. Returns at once."""
        with self._lock:
            if order != self._order:
                self._order = order
                self._deaths, self._not_before_s = 0, 0.0

    def _keep(self) -> None:
        while True:
            if select.select([self._news], [], [], _LOOK_S)[0]:
                self._hear(self._news.recv(65_536).decode("utf-8", "replace"))
            with self._lock:
                self._step()

    def _step(self) -> None:
        """Take the one step that is due."""
        process = self._process
        if process is not None and process.poll() is not None:
            self._ended(process.returncode)
        elif process is None:
            if self._order is None:
                self.state, self.told, self.generation = "idle", "", None
            elif time.monotonic() >= self._not_before_s:
                self._start(self._order)
        elif self._order is None:
            if self.state != "draining":  # a second signal would end it at once
                self.state = "draining"
                process.send_signal(signal.SIGTERM)
        elif self.state == "serving" and self._order != self._given:
            # Not before: until it has read the first one it would end by the signal.
            self._give(self._order)
            self.state = "starting"
            process.send_signal(signal.SIGHUP)

    def _start(self, order: Order) -> None:
        self._give(order)
        self._lines.clear()
        self.state, self.told, self._started_s = "starting", "", time.monotonic()
        command = [sys.executable, tied.__file__, str(os.getpid()), sys.executable, "-m", "headrace", "serve"]
        command += ["--config", str(self._file), "--on-node", self._address, "--relative-to", order.folder]
        environ = {**self._environ, "NOTIFY_SOCKET": f"{self._private.name}/notify"}
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environ,
                cwd=self._file.parent,
                start_new_session=True,
            )
        except OSError as error:
            self._lines.append(str(error))
            self._ended(1)
            return
        self._reader = threading.Thread(target=self._read, args=(self._process,), daemon=True)
        self._reader.start()

    def _give(self, order: Order) -> None:
        replace_file(self._file, order.text.encode())
        self._given = order

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Hand its lines on, to where Ray keeps those of its processes."""
        assert process.stdout is not None  # noqa: S101 - a pipe was asked for
        with process.stdout as output:
            for line in output:
                text = line.decode("utf-8", "replace").rstrip()
                self._lines.append(text)
                with contextlib.suppress(OSError, ValueError):
                    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the log

    def _ended(self, code: int) -> None:
        asked = self.state == "draining"
        if self._reader is not None:
            self._reader.join(_LAST_WORDS_S)
        self._process, self._given, self.generation = None, None, None
        if asked:
            return
        self._deaths = 1 if time.monotonic() - self._started_s > _HEALTHY_S else self._deaths + 1
        wait_s = min(2.0 ** (self._deaths - 1), _MOST_WAIT_S)
        self._not_before_s = time.monotonic() + wait_s
        last = self._lines[-1][:_MOST_CHARACTERS] if self._lines else "it said nothing"
        self.state, self.told = "failed", f"ended with {code}; again in {wait_s:g} s: {last}"

    def _hear(self, news: str) -> None:
        said = dict(line.partition("=")[::2] for line in news.splitlines())
        with self._lock:
            if "STATUS" in said:
                self.told = said["STATUS"]
            if said.get("READY") == "1" and self._process is not None and self.state in {"starting", "serving"}:
                self.state = "serving"
                self.generation = self._given.generation if self._given is not None else None
