"""Runs the builder process: starts it, passes its lines on to the log, and ends it with everything that it runs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Mapping

import msgspec

from headrace.core import errors
from headrace.core.errors import EnvironmentBuildFailed, HeadraceError
from headrace.core.processes import inheriting
from headrace.environments.building import Order
from headrace.environments.messages import Built, NotBuilt
from headrace.telemetry.logs import Log

_COMMAND = (sys.executable, "-m", "headrace.environments")


async def order_build(order: Order, environ: Mapping[str, str], log: Log) -> str:
    """Have an environment built in a process of its own; returns its digest.

    Raises what `build` raises, and EnvironmentBuildFailed when the process dies or takes longer than
    `build_timeout_s`. Cancelling ends the build and its tools before this returns.
    """
    process = await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=inheriting.for_builder(environ, order.settings.pass_env),
        start_new_session=True,
    )
    try:
        async with asyncio.timeout(order.settings.build_timeout_s):
            answer = await _talk(process, order, log)
            code = await process.wait()
    except TimeoutError:
        raise EnvironmentBuildFailed(
            f"the environment was not built within {order.settings.build_timeout_s:g} s; "
            "raise environments.build_timeout_s if it only needs longer"
        ) from None
    finally:
        await _end(process)
    return _digest(answer, code)


async def _talk(process: asyncio.subprocess.Process, order: Order, log: Log) -> bytes:
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise AssertionError("three pipes were asked for")
    log.debug("builder started", pid=process.pid)
    with contextlib.suppress(ConnectionError):
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        await process.stdin.drain()  # not closed: that would tell the builder that we are gone
    answer, _ = await asyncio.gather(process.stdout.read(), _pass_on(process.stderr, log))
    return answer


async def _pass_on(stream: asyncio.StreamReader, log: Log) -> None:
    while raw := await stream.readline():
        line = raw.decode(errors="replace").rstrip()
        with contextlib.suppress(ValueError):
            line = str(json.loads(line))
        log.debug("build", line=line)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the builder's whole process group and collect it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    if process.stdin is not None:
        process.stdin.close()
    await asyncio.shield(process.wait())


def _digest(answer: bytes, code: int) -> str:
    try:
        said = msgspec.json.decode(answer, type=Built | NotBuilt)
    except msgspec.DecodeError:
        how = f"exit code {code}" if code >= 0 else f"signal {-code}"
        raise EnvironmentBuildFailed(f"the builder ended before the environment was whole ({how})") from None
    if isinstance(said, Built):
        return said.digest
    kind = getattr(errors, said.kind, None)
    if isinstance(kind, type) and issubclass(kind, HeadraceError):
        raise kind(said.reason)
    raise EnvironmentBuildFailed(said.reason)
