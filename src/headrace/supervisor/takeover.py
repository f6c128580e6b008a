"""What a supervisor does about the one before it, and so that another can come after it: see `headrace.keeper`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headrace.config import environment
from headrace.core.protocol.messages import Ties
from headrace.supervisor.processes.systemd import Notifier

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from headrace.keeper.kept import Kept
    from headrace.supervisor.processes.gateways import Gateways
    from headrace.supervisor.processes.worker_control import ControlRoom
    from headrace.telemetry.logs import Log


class Takeover:
    """`open`: our gateways take clients. They do not while those of a supervisor that has died do it better.

    `kept` None: there is no keeper, and nothing outlives us.
    """

    def __init__(self, kept: Kept | None, log: Log) -> None:
        self.open = kept is None or not kept.follows
        self._kept = kept
        self._log = log

    def notifier(self, environ: Mapping[str, str]) -> Notifier:
        """Who tells the service manager: it listens to the process that it has started."""
        if self._kept is None:
            return Notifier(environment.systemd(environ))
        return Notifier(environment.systemd(environ, self._kept.pid), self._kept.notify)

    def begin(self, room: ControlRoom) -> Ties | None:
        """Have what is started from now on outlive us; returns what gateways are tied to."""
        kept = self._kept
        if kept is None:
            return None
        if kept.ended:
            goes_on = "gateways and workers that serve" if kept.follows else None
            self._log.error("supervisor ended", exit=kept.ended, restarts=kept.deaths, kept=goes_on)
        room.lend(kept)
        if self.open:
            kept.opening()
        return Ties(room.lifeline_fd, room.leash.fileno(), 0.0) if room.leash is not None else None

    async def complete(self, publish: Callable[[], None], gateways: Gateways) -> None:
        """All that can be served is, by us: have our gateways take clients, and those before them none."""
        kept = self._kept
        if kept is None:
            return
        if not self.open:
            self.open = True
            kept.opening()
            publish()
            await gateways.until(lambda: gateways.in_force)
            self._log.info("taken over", pids=gateways.pids)
        kept.proven()
