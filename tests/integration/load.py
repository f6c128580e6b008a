"""A few clients that ask while something happens to the server."""

import http.client
import json
import threading
from typing import Any, Self
from urllib.parse import urlsplit

from tests.integration.serving import until


class Load:
    """Asks `url` on keep-alive connections from `clients` threads; counts answers by status, or by error.

    Each asks anew `pause_s` after an answer: what happens to the server meanwhile needs the processors, too. Without a
    pause there is always a request in the server's hands.
    """

    def __init__(self, url: str, body: Any, clients: int = 4, *, pause_s: float = 0.01) -> None:
        self.statuses: dict[object, int] = {}
        self.labels: set[str] = set()
        self._parts = urlsplit(url)
        self._body = json.dumps(body).encode()
        self._pause_s = pause_s
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(clients)]

    def _run(self) -> None:
        connection: http.client.HTTPConnection | None = None
        while not self._stop.is_set():
            outcome: object
            try:
                if connection is None:
                    connection = http.client.HTTPConnection(self._parts.hostname or "", self._parts.port, timeout=60)
                connection.request("POST", self._parts.path, self._body, {"Content-Type": "application/json"})
                response = connection.getresponse()
                response.read()
                outcome = response.status
                label = response.headers.get("Headrace-Model")
            except (OSError, http.client.HTTPException) as error:
                outcome, label = repr(error), None
                if connection is not None:
                    connection.close()
                connection = None
            with self._lock:
                self.statuses[outcome] = self.statuses.get(outcome, 0) + 1
                if label:
                    self.labels.add(label)
            self._stop.wait(self._pause_s)
        if connection is not None:
            connection.close()

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def more(self, count: int = 50) -> None:
        """Wait until so many further requests were answered."""
        wanted = sum(self.statuses.values()) + count
        until(lambda: sum(self.statuses.values()) >= wanted, f"{count} further answers")
