"""The keeper: it holds the listening sockets and what others live by, starts a supervisor, and another when that dies.

It reads nothing that comes from outside, and imports nothing but the standard library: there is little that can go
wrong with it. Everything else is forked from it. What it keeps:

- the *listening sockets*, by names that mean nothing to it;
- the *lifeline* of each supervisor's processes: the kernel ends them when its last writing end closes;
- the *leash* of its gateways: they finish what they have and end when it is let go of, and when the last of them has
  ended, it is seen here. Then the lifeline is cut.

A supervisor that dies leaves gateways and workers behind that serve on. The next one brings up its own beside them, on
the same sockets, and says when it serves all that can be served: the others then finish. See docs/architecture.md.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import select
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

from headrace.keeper import kept
from headrace.keeper.kept import EXIT_BROKEN, Kept

_FORWARDED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_ENDING = {signal.SIGTERM, signal.SIGINT}
_MESSAGE_BYTES = 64 * 1024
_MOST_FDS = 4

_MOST_FAILED = 8
"""After so many supervisors in a row that did not come to serve it is given up."""
_FIRST_WAIT_S, _MOST_WAIT_S = 0.5, 30.0
_HEALTHY_S = 10.0
_LAST_WORDS_S = 2.0
"""What the recorder has to write down what the last gateway has told it."""
_DRAIN_S = 30.0
"""How long gateways have when there is no supervisor to say so."""

_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER = 1, 4, 36  # prctl(2)

Handler = Callable[[int, FrameType | None], object]


class _Generation:
    """One supervisor and the processes that came from it. `over_s`: when they are ended; None: not yet known."""

    def __init__(self, pid: int, channel: socket.socket) -> None:
        self.pid = pid
        self.channel = channel
        self.started_s = time.monotonic()
        self.patience_s = _DRAIN_S
        self.opened = False
        self.proven = False
        self.over_s: float | None = None
        self.leash: socket.socket | None = None
        self._lifeline_fd: int | None = None
        self._directory = ""

    def lend(self, directory: str, lifeline_fd: int, leash_fd: int) -> None:
        """Take over what its processes live by."""
        self._directory, self._lifeline_fd = directory, lifeline_fd
        self.leash = socket.socket(fileno=leash_fd)

    def answer(self) -> None:
        """What it has asked for is done."""
        with contextlib.suppress(OSError):
            self.channel.send(b"done")

    def let_go(self, within_s: float) -> None:
        """Have its gateways finish what they have; what is there after that time is ended."""
        if self.leash is not None:
            with contextlib.suppress(OSError):
                self.leash.shutdown(socket.SHUT_WR)
            over_s = time.monotonic() + within_s
            self.over_s = over_s if self.over_s is None else min(self.over_s, over_s)

    def alone(self) -> None:
        """The last gateway has ended."""
        if self.leash is not None:
            self.leash.close()
            self.leash = None
        self.over_s = time.monotonic() + _LAST_WORDS_S

    def cut(self) -> None:
        """Close our end of the lifeline: the kernel ends what hangs on it, unless another process has one, too."""
        if self._lifeline_fd is not None:
            os.close(self._lifeline_fd)
            self._lifeline_fd = None

    def close(self) -> None:
        """Close all that we have of it."""
        self.channel.close()
        self.cut()
        if self.leash is not None:
            self.leash.close()
            self.leash = None

    def end(self) -> None:
        """End all that is left of it now, and remove its directory."""
        self.close()
        if self._directory:
            shutil.rmtree(self._directory, ignore_errors=True)


class Keeper:
    """One in a process. `run` returns in each supervisor, and never in the keeper itself.

    `on_signal` is what a supervisor does at SIGTERM and SIGINT until it has something better.
    """

    def __init__(self, on_signal: Handler) -> None:
        self._on_signal = on_signal
        self._pid = os.getpid()
        self._sockets: dict[str, int] = {}
        self._current: _Generation | None = None
        self._former: list[_Generation] = []
        self._deaths = 0
        self._failed = 0
        self._due_s: float | None = 0.0
        self._ended = ""
        self._stopping = False
        self._code: int | None = None
        self._woken, self._wake = os.pipe()
        for fd in (self._woken, self._wake):
            os.set_blocking(fd, False)

    def run(self) -> Kept:
        """Keep until there is nothing more to keep; the process then ends with the last supervisor's exit code."""
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)
        _prctl(_PR_SET_DUMPABLE, 0)
        signal.set_wakeup_fd(self._wake, warn_on_full_buffer=False)
        for number in (*_FORWARDED, signal.SIGCHLD):
            signal.signal(number, lambda *_: None)
        while True:
            if self._due_s is not None and time.monotonic() >= self._due_s:
                self._due_s = None
                supervisor = self._start()
                if supervisor is not None:
                    return supervisor
            self._wait()
            self._end_what_is_over()
            if self._code is not None and not self._former:
                os._exit(self._code)

    # Supervisors.

    def _start(self) -> Kept | None:
        """Fork a supervisor: what it has to know is returned in it, and None here."""
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        masked = signal.pthread_sigmask(signal.SIG_BLOCK, {*_FORWARDED, signal.SIGCHLD})
        try:
            pid = os.fork()
        except OSError as error:
            ours.close()
            theirs.close()
            self._failed += 1
            self._died(f"not started: {error.strerror}")
            return None
        else:
            if pid == 0:
                ours.close()
                return self._become_supervisor(theirs)
            theirs.close()
            ours.setblocking(False)
            self._current = _Generation(pid, ours)
            return None
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, masked)

    def _become_supervisor(self, channel: socket.socket) -> Kept:
        """Be a process of its own, in a session of its own: a terminal's Ctrl-C reaches the keeper, which tells."""
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._pid:
            os._exit(1)
        os.setsid()
        signal.set_wakeup_fd(-1)
        for number in (*_FORWARDED, signal.SIGCHLD):
            signal.signal(number, self._on_signal if number in _ENDING else signal.SIG_DFL)
        for fd in (self._woken, self._wake):
            os.close(fd)
        _show_as("headrace.supervisor")
        for former in self._former:
            former.close()
        sockets = {name: socket.socket(fileno=fd) for name, fd in self._sockets.items()}
        for one in sockets.values():
            one.setblocking(False)
        return Kept(channel, sockets, ended=self._ended, follows=bool(self._former), deaths=self._deaths)

    def _over(self, ended: _Generation, status: int) -> None:
        """The supervisor has ended."""
        self._current = None
        self._obey(ended)  # what it has said before
        code = os.waitstatus_to_exitcode(status)
        broken = code < 0 or code == EXIT_BROKEN or (code != 0 and bool(self._former))
        ended.channel.close()
        if ended.opened and broken:
            self._former.append(ended)
        else:
            ended.end()
        if self._code is not None:
            return
        if not broken or self._stopping or not (self._former or self._deaths):
            self._finish(code if code >= 0 else 128 - code)
            return
        how = f"killed by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
        self._failed = 0 if ended.proven else self._failed + 1
        self._died(how, lived_s=time.monotonic() - ended.started_s, code=code if code >= 0 else 128 - code)

    def _died(self, how: str, *, lived_s: float = 0.0, code: int = EXIT_BROKEN) -> None:
        """Have another one, at once or later, or none any more."""
        self._deaths += 1
        self._ended = how
        if self._failed >= _MOST_FAILED:
            told = f"headrace: {self._failed} supervisors in a row did not come to serve, the last one {how}: it ends\n"
            _tell(told)
            self._finish(code)
            return
        wait_s = min(_FIRST_WAIT_S * 2.0 ** (self._failed - 1), _MOST_WAIT_S) if self._failed else 1.0
        self._due_s = time.monotonic() + (0.0 if not self._failed and lived_s >= _HEALTHY_S else wait_s)

    def _finish(self, code: int) -> None:
        """End with that exit code as soon as what still serves has finished."""
        self._code, self._due_s = code, None
        for fd in self._sockets.values():
            os.close(fd)
        self._sockets = {}
        for former in self._former:
            former.let_go(_DRAIN_S)

    # What happens.

    def _wait(self) -> None:
        """Wait for the next thing that happens, and deal with it."""
        current, leashed = self._current, [one for one in self._former if one.leash is not None]
        times_s = [one.over_s for one in self._former if one.over_s is not None]
        times_s += [self._due_s] if self._due_s is not None else []
        wait_s = max(0.0, min(times_s) - time.monotonic()) if times_s else None
        poll = select.poll()
        watched = [self._woken, *(one.leash.fileno() for one in leashed if one.leash is not None)]
        watched += [current.channel.fileno()] if current is not None and current.channel.fileno() >= 0 else []
        for fd in watched:
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if wait_s is None else math.ceil(wait_s * 1000))}
        if current is not None and current.channel.fileno() in ready:
            self._obey(current)
        for one in leashed:
            if one.leash is not None and one.leash.fileno() in ready:
                one.alone()  # nobody says anything there
        if self._woken in ready:
            for number in os.read(self._woken, 256):
                self._forward(number)
        self._reap()

    def _forward(self, number: int) -> None:
        """A signal has come."""
        if number == signal.SIGCHLD:
            return
        if self._current is not None:
            os.kill(self._current.pid, number)
            if number in _ENDING:
                self._stopping = True
                for former in self._former:
                    former.let_go(former.patience_s)
        elif number in _ENDING:
            if self._code is not None:  # a second one
                os._exit(self._code)
            self._finish(0)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if self._current is not None and pid == self._current.pid:
                self._over(self._current, status)

    def _end_what_is_over(self) -> None:
        now_s = time.monotonic()
        for one in [one for one in self._former if one.over_s is not None and one.over_s <= now_s]:
            self._former.remove(one)
            one.end()

    # What a supervisor says.

    def _obey(self, one: _Generation) -> None:
        """Take what has come; a supervisor that is gone is heard of by SIGCHLD."""
        while one.channel.fileno() >= 0:
            try:
                message, fds, _, _ = socket.recv_fds(
                    one.channel, _MESSAGE_BYTES, _MOST_FDS, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
                )
            except BlockingIOError:
                return
            except OSError:
                message, fds = b"", []
            if not message:
                one.channel.close()
                return
            word, _, argument = message.partition(b" ")
            self._do(one, word, os.fsdecode(argument), fds)

    def _do(self, one: _Generation, word: bytes, argument: str, fds: list[int]) -> None:
        if word == kept.KEEP and fds:  # none where we may have no more: a supervisor after this one binds it anew
            self._drop(argument)
            self._sockets[argument] = fds[0]
        elif word == kept.DROP:
            self._drop(argument)
            one.answer()
        elif word == kept.LEND and len(fds) == 2:
            one.lend(argument, *fds)
        elif word == kept.PATIENCE:
            one.patience_s = float(argument)
        elif word == kept.OPEN:
            one.opened = one.leash is not None
        elif word == kept.PROVEN:
            one.proven = True
            self._failed = 0
            for former in self._former:
                former.let_go(former.patience_s)
        elif word == kept.CUT:
            one.cut()
            one.answer()
        elif word == kept.NOTIFY:
            _notify(argument)

    def _drop(self, name: str) -> None:
        fd = self._sockets.pop(name, None)
        if fd is not None:
            os.close(fd)


def _tell(line: str) -> None:
    """Write a line to standard error, unless it would have to be waited for."""
    with contextlib.suppress(OSError, ValueError):
        poll = select.poll()
        poll.register(2, select.POLLOUT)
        if poll.poll(0):
            os.write(2, line.encode())


def _name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name
    return f"signal {number}"


def _notify(state: str) -> None:
    """See sd_notify(3); a datagram that cannot be delivered is lost."""
    address = os.environ.get("NOTIFY_SOCKET")
    if address:
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.setblocking(False)
            # A leading @ stands for the NUL byte of Linux's abstract sockets.
            one.sendto(state.encode(), "\0" + address[1:] if address.startswith("@") else address)


def _show_as(title: str) -> None:
    """Have ``ps`` show this, and the arguments. Best effort: where they do not fit the end is cut off."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        start, end = int(fields[45]), int(fields[46])  # arg_start and arg_end: fields 48 and 49 of proc(5)
        shown = b"\0".join(os.fsencode(word) for word in (title, *sys.argv[1:]))
        if 0 < start < end:
            ctypes.memmove(start, shown[: end - start - 1].ljust(end - start, b"\0"), end - start)


def _prctl(option: int, value: int) -> None:
    ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0)
