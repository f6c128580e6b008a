"""The life of a worker process: load a model once, then serve it, or fork replicas that share its memory.

A *host* loads. Where nothing but the main thread runs after that, its replicas are forks: they share the model's
pages, and a replica that dies is replaced in milliseconds. A model that starts threads while it loads cannot be
forked safely; then the host becomes the one replica itself, and the supervisor starts a host for each.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import selectors
import signal
import socket
import sys
import time
import traceback
from typing import Any, Dict, List, Optional  # noqa: UP035 - runs on Python 3.9

from . import imports, lifeline, printing, scoring, serving, threads
from .control import Control
from .proving import prove
from .scoring.compiled import Predictor
from .scoring.options import COMPILE_REQUIRE
from .title import set_command, set_title
from .zygote import Zygote

Command = Dict[str, Any]  # noqa: UP006


class Host:
    """One worker process from its start to its end; `run` returns its exit code."""

    def __init__(self, control_path: str, lifeline_fd: int) -> None:
        self._control_path = control_path
        self._lifeline_fd = lifeline_fd
        self._control = Control(control_path)
        self._scorer: Optional[scoring.Scorer] = None  # noqa: UP045
        self._children: Dict[int, str] = {}  # noqa: UP006 - pid -> replica id
        self._modules = set(sys.modules)

    def run(self, token: str) -> int:
        """Say hello with `token`, and obey until the supervisor is gone. A replica's life is inside this call, too."""
        self._control.say("hello", role="host", token=token)
        wake_read, wake_write = os.pipe()
        os.set_blocking(wake_read, False)
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(self._control, selectors.EVENT_READ)
            selector.register(wake_read, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if wake_read in ready:
                    _drain(wake_read)
                    self._reap()
                if self._control not in ready:
                    continue
                try:
                    commands = self._control.receive()
                except (EOFError, OSError):
                    return 0
                for command in commands:
                    if command["command"] == "load":
                        if not self._load(command):
                            return 1
                    elif command["command"] == "ping":
                        self._control.say("pong")
                    elif command["command"] == "serve":
                        return self._serve(self._control, command)
                    elif command["command"] == "fork" and self._fork(command):
                        # A replica now: of its host it keeps the model, and nothing else.
                        signal.set_wakeup_fd(-1)
                        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                        os.close(wake_read)
                        os.close(wake_write)
                        self._control.close()
                        return self._replica(command)

    def _load(self, command: Command) -> bool:
        started = time.monotonic()
        try:
            options = scoring.ScoringOptions(**command.get("options", {}))
            self._scorer = scoring.load(command["path"], options)
        except BaseException as error:  # noqa: BLE001 - a model's code may raise anything, SystemExit too
            detail = "".join(traceback.format_exception(type(error), error, error.__traceback__))
            self._control.say("failed", reason=_one_line(error), detail=detail[-20_000:])
            return False
        gc.collect()
        gc.freeze()  # a forked replica's collector then leaves the shared pages alone
        self._control.say(
            "loaded",
            facts=self._scorer.facts(),
            took_s=time.monotonic() - started,
            forkable=threads.forkable(),
            imported=self._imported(),
        )
        return True

    def _imported(self) -> List[str]:  # noqa: UP006
        """The installed modules that were imported since it was asked last, or since the start."""
        found = imports.installed_since(self._modules)
        self._modules = set(sys.modules)
        return found

    def _fork(self, command: Command) -> bool:
        """Fork one replica; True in the child."""
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            return True
        self._children[pid] = command["replica"]
        return False

    def _replica(self, command: Command) -> int:
        lifeline.arm(self._lifeline_fd)
        set_title(f"replica-{command['replica']}")
        control = Control(self._control_path)
        control.say("hello", role="replica", token=command["token"])
        return self._serve(control, command)

    def _serve(self, control: Control, command: Command) -> int:
        scorer = self._scorer
        if scorer is None:
            control.say("failed", reason="told to serve before a model was loaded", detail="")
            return 1
        if control is self._control:
            set_title(f"replica-{command['replica']}")
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        listener.bind(command["socket"])
        listener.listen(64)
        form, options = scorer.compiled, scorer.options
        if form is not None:
            form.look()  # a difference may have been found since this was loaded
        warm_up, raised = scorer.warm_up() if command.get("warm_up", True) else ({"ok": None}, [])
        if form is not None and options.compile == COMPILE_REQUIRE:
            form.prove(options.compile_s)
        facts, imported = scorer.facts(), self._imported()
        control.say("ready", warm_up=warm_up, raised=raised, facts=facts, rss_bytes=_rss_bytes(), imported=imported)
        if form is not None:
            form.prove_aside(options.compile_s)
        supervisor = _Supervisor(control, form)  # it ends this process in the end
        serving.serve(listener, scorer, stop=lambda: supervisor.gone, watch=[(control, supervisor.hear)])
        return 0

    def _reap(self) -> None:
        while self._children:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            replica = self._children.pop(pid, None)
            if replica is not None:
                self._control.say("exited", replica=replica, exit=_exit_code(status))


class _Supervisor:
    """What a replica hears of its supervisor, between requests: whether it still answers, and is still wanted.

    `gone`: the replica is to end when it has answered what it was given. A supervisor that has died is no reason to:
    gateways that outlive it go on asking, and the lifeline ends this process when it is of no use any more.
    """

    def __init__(self, control: Control, form: Optional[Predictor]) -> None:  # noqa: UP045 - runs on Python 3.9
        self.gone = False
        self._control = control
        self._form = form

    def hear(self) -> bool:
        """Answer what has come; False: nothing will come any more."""
        try:
            for command in self._control.receive():
                if command["command"] == "ping":
                    self._pong()
                elif command["command"] == "retire":
                    self.gone = True
        except (EOFError, OSError):
            return False
        return True

    def _pong(self) -> None:
        """Say that it is there, and how far the faster form of its model is."""
        if self._form is None:
            self._control.say("pong")
        else:
            self._form.look()  # other replicas find differences, too
            self._control.say("pong", compiled=self._form.told())


def _exit_code(status: int) -> int:
    """What `waitpid` said, negative for a signal; `os.waitstatus_to_exitcode` is there from Python 3.9 on."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _drain(fd: int) -> None:
    try:
        while os.read(fd, 4096):
            pass
    except BlockingIOError:
        pass


def _rss_bytes() -> int:
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[1]) * resource.getpagesize()
    except (OSError, ValueError):
        return 0


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split()) or repr(error)
    return text[:500] if isinstance(error, scoring.LoadError) else f"{type(error).__name__}: {text}"[:500]


def main(arguments: str) -> int:
    """Run a worker, a zygote, or a proof, as its JSON command-line argument says; returns the exit code."""
    settings = json.loads(arguments)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the supervisor, which ends us in order
    printing.outlive_the_reader()
    if "prove" in settings:
        return prove(settings)
    if "channel_fd" in settings:
        host = Zygote(settings["channel_fd"], settings["lifeline_fd"]).run()
        if host is None:
            return 0
        token = host["token"]
        set_command({"headrace_worker": host["label"]}, "host")
    else:
        # Through a pipe: the command line and the environment are there for every process of the same user to read.
        token = os.read(settings["token_fd"], 256).decode()
        os.close(settings["token_fd"])
    lifeline.arm(settings["lifeline_fd"])
    return Host(settings["control"], settings["lifeline_fd"]).run(token)
