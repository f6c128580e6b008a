"""Clients outside of the containers."""

from __future__ import annotations

import http.client
import json
import threading
from typing import Self


def ask(port: int, text: str, host: str = "127.0.0.1") -> tuple[int, str, str]:
    """(status, version, answer) of one prediction; raises OSError or HTTPException."""
    connection = http.client.HTTPConnection(host, port, timeout=20)
    try:
        body = json.dumps({"instances": [text]})
        connection.request("POST", "/invocations", body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.headers.get("Headrace-Model", ""), response.read().decode()
    finally:
        connection.close()


class Client:
    """Asks all the time, until the end of the block."""

    def __init__(self, port: int, host: str = "127.0.0.1", threads: int = 4) -> None:
        self._port, self._host = port, host
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]
        self.answered: dict[str, int] = {}
        self.failed: list[str] = []

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                status, version, answer = ask(self._port, "The team won the championship match", self._host)
            except (OSError, http.client.HTTPException) as error:
                self.failed.append(repr(error))
                self._stop.wait(0.01)  # a port that is closed refuses thousands in a second
                continue
            if status == 200:
                self.answered[version] = self.answered.get(version, 0) + 1
            else:
                self.failed.append(f"{status} {answer[:200]}")

    @property
    def total(self) -> int:
        """How many were answered with 200."""
        return sum(self.answered.values())

    def stop(self) -> None:
        """Ask no more; what is on its way is still counted."""
        self._stop.set()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
