"""Tells systemd what a service of `Type=notify` must tell (sd_notify(3)); silent where nobody asked for it."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import Callable

from headrace.config.environment import Systemd


class Notifier:
    """Sends states to the service manager. A datagram that cannot be delivered is lost: serving goes on."""

    def __init__(self, systemd: Systemd, send: Callable[[str], None] | None = None) -> None:
        """`send` hands a state on to the process that the service manager has started; None: that is this one."""
        self._systemd = systemd
        self._handed_on = send

    def ready(self, status: str) -> None:
        """Start-up is finished."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` says when that is over."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}\nSTATUS=reloading")

    def stopping(self) -> None:
        """Draining has begun."""
        self._send("STOPPING=1\nSTATUS=draining")

    async def keep_alive(self) -> None:
        """Say that the event loop turns, as often as the watchdog wants; returns at once where there is none."""
        if self._systemd.watchdog_s is None:
            return
        while True:
            self._send("WATCHDOG=1")
            await asyncio.sleep(self._systemd.watchdog_s / 3)

    def _send(self, state: str) -> None:
        address = self._systemd.address
        if address is None:
            return
        if self._handed_on is not None:
            self._handed_on(state)
            return
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            # A leading @ stands for the NUL byte of Linux's abstract sockets.
            one.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)
