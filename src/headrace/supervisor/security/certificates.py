"""The certificates of the ports, from their files to who shows them: at start, and again whenever the files change.

The supervisor alone reads the files, and hands on what is whole. A pair that was half written when it was read is left
aside, and what was shown before is shown on, also by a gateway that is started in the meantime.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Iterator
from typing import Any

from headrace.config.security import Tls
from headrace.core.errors import ConfigError
from headrace.core.protocol.messages import Certificate
from headrace.core.security.expiry import trouble
from headrace.core.telemetry.totals import Sample
from headrace.security.certificates import Files, Shown, check, read
from headrace.telemetry.logs import Log

_LOOK_S = 2.0
_TELL_AGAIN_S = 86_400.0


class PortCertificate:
    """The certificate of the ports that `path` of the configuration stands for (``tls``, ``admin.tls``).

    `on_change` is told of each that is to be shown from now on. `trouble` is what is wrong now, None: nothing.
    """

    def __init__(self, section: Tls, path: str, log: Log, on_change: Callable[[Certificate], None]) -> None:
        self.path = path
        self.trouble: str | None = None
        self._section = section
        self._log = log.bind(setting=path)
        self._on_change = on_change
        self._files: Files
        self._shown: Shown
        self._refused: str | None = None
        self._refused_files: Files | None = None
        self._counts = {"ok": 0, "failed": 0}
        self._told: tuple[str, float] = ("", 0.0)

    def load(self) -> None:
        """Read it for the first time; raises ConfigError with the file that is wrong, and why."""
        self._files = read(self._section, self.path)
        self._shown = check(self._files, self._section, self.path)
        self._on_change(self._shown.certificate)
        self._judge(time.time())

    async def run(self) -> None:
        """Look at the files again and again."""
        while True:
            await asyncio.sleep(_LOOK_S)
            await self._look()
            self._judge(time.time())

    def pinned(self) -> ssl.SSLContext:
        """What a client of ours on this machine goes by: this very certificate, with any host name."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        made.check_hostname = False
        made.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        made.load_verify_locations(cadata=self._shown.leaf)
        return made

    def describe(self) -> dict[str, Any]:
        """What operators are told of it."""
        shown = self._shown
        return {"setting": self.path, "names": shown.names, "expires": shown.ends_s, "trouble": self.trouble}

    def samples(self) -> Iterator[Sample]:
        """Its metrics."""
        labels = (("setting", self.path),)
        yield "headrace_certificate_expiry_timestamp_seconds", labels, self._shown.ends_s
        for result, count in self._counts.items():
            yield "headrace_certificate_reloads_total", (*labels, ("result", result)), count

    async def _look(self) -> None:
        """Take what is new and good."""
        files: Files | None = None
        try:
            files = await asyncio.to_thread(read, self._section, self.path)
            if files == self._files:
                self._refused = None
                return
            if files == self._refused_files:
                return
            found = await asyncio.to_thread(check, files, self._section, self.path)
        except ConfigError as error:
            self._refuse(error, files)
            return
        if found.ends_s <= time.time() < self._shown.ends_s:
            self._refuse(ConfigError(f"{self.path}.certificate", f"{self._section.certificate} has expired"), files)
            return
        self._files, self._shown = files, found
        self._refused = self._refused_files = None
        self._counts["ok"] += 1
        self._on_change(found.certificate)
        self._log.info("certificate changed", names=found.names, expires=_day(found.ends_s))

    def _refuse(self, error: ConfigError, files: Files | None) -> None:
        """Say once what is wrong with new files; None: they could not be read."""
        self._refused_files = files
        if self._refused == str(error):
            return
        self._refused = str(error)
        self._counts["failed"] += 1
        self._log.warning(
            "certificate not taken", error=str(error), kept=f"the one that expires {_day(self._shown.ends_s)}"
        )

    def _judge(self, now_s: float) -> None:
        """See whether operators should know something, and tell them once a day."""
        aged = trouble(self._shown.begins_s, self._shown.ends_s, now_s)
        found = [f"its certificate is not good: {aged}"] if aged is not None else []
        if self._refused is not None:
            found.append(f"what its files hold now is not taken ({self._refused})")
        self.trouble = "; ".join(found) or None
        if aged is None:
            return
        kind = "expired" if now_s >= self._shown.ends_s else "aged"
        if self._told[0] != kind or now_s - self._told[1] >= _TELL_AGAIN_S:
            self._told = kind, now_s
            self._log.warning("certificate", trouble=aged, file=str(self._section.certificate))


def _day(moment_s: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment_s))
