"""Hears what one worker process says until it is lost, and kills it when it is silent for too long."""

from __future__ import annotations

from collections.abc import Callable

from headrace.core.protocol.worker_events import Event, ProtocolError
from headrace.supervisor.processes.worker_control import Reporter
from headrace.supervisor.processes.worker_process import EndReason, Host, Replica
from headrace.telemetry.logs import Log

END_S = 1.0
"""How long after its connections a process may end and still count as one that died."""

Hear = Callable[[Event], None]


async def hear_out(
    reporter: Reporter, one: Replica | Host, hear: Hear, stopping: Callable[[], bool], log: Log
) -> tuple[str, EndReason]:
    """Give `hear` all that a process says; returns why it is lost, and as what that counts.

    A process that breaks the protocol, or whose news cannot be dealt with, is killed: it is lost, and nothing else is.
    """
    try:
        async for event in reporter.events():
            one.heard(event)
            hear(event)
        if stopping() or await reporter.ended(END_S):
            return "its process ended", "died"
        why = "it has closed its control connection"
    except ProtocolError as error:
        why = str(error)
    except Exception as error:
        why = f"{type(error).__name__}: {error}"
        log.exception("a worker could not be followed", exc_info=error, pid=reporter.pid)
    finally:
        one.pulse.stop()
    log.error("worker broke the protocol", pid=reporter.pid, reason=why)
    one.kill(why, "protocol")
    return why, "protocol"


def watch_over(one: Replica | Host, reporter: Reporter, what: str, limit_s: float | None, log: Log) -> None:
    """Kill a process when it is silent for more than `limit_s` seconds (None: never); `what` is said of it in the log.

    Its end is then dealt with as any other.
    """

    def hung(silent_s: float) -> None:
        log.warning(what, pid=reporter.pid, silent_s=round(silent_s, 1))
        one.kill(f"silent for {silent_s:.1f} s", "hung")

    one.pulse.start(limit_s, reporter.ping, hung)
