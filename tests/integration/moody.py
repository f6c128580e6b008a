"""A model that does what its input says: for tests of everything that a model can do to a server."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import mlflow
from mlflow.pyfunc.model import PythonModel, PythonModelContext


class Moody(PythonModel):
    """Answers each text in order: what it orders or itself.

    ``sleep:S``, ``die``, ``die once:FILE``, ``exit``, ``raise:WHY``, ``leave behind`` (a process), ``note:FILE``,
    ``pid``, ``print:TEXT``, ``flood:TEXT`` (prints it for ever). ``control:HEX`` and ``data:HEX`` write bytes to this
    process's own sockets, to its supervisor and to the gateways, once they are answered; without bytes they close
    them. ``knock:HEX`` connects to the supervisor anew and says that.
    """

    def load_context(self, context: PythonModelContext) -> None:  # noqa: ARG002
        if os.environ.get("MOODY_SLOW_LOAD"):
            time.sleep(float(os.environ["MOODY_SLOW_LOAD"]))

    def predict(self, context: Any, model_input: Any, params: Any = None) -> list[str]:  # noqa: ARG002
        return [self._one(str(text)) for text in model_input]

    def _one(self, text: str) -> str:
        order, _, value = text.partition(":")
        if order == "sleep":
            time.sleep(float(value))
        elif order == "wait":
            while not Path(value).exists():
                time.sleep(0.01)
        elif order == "die":
            os._exit(9)
        elif order == "die once":
            if not Path(value).exists():
                Path(value).write_text("died", encoding="utf-8")
                os._exit(9)
        elif order == "exit":
            raise SystemExit(3)
        elif order == "raise":
            raise RuntimeError(value)
        elif order == "note":  # who was asked; an error as long as FILE.broken is there
            with Path(value).open("a", encoding="utf-8") as file:
                file.write(f"{os.getpid()}\n")
            if Path(f"{value}.broken").exists():
                raise RuntimeError("out of order")
        elif order == "leave behind":
            shell = ["/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 & echo $!"]
            return subprocess.run(shell, capture_output=True, text=True, check=True).stdout.strip()
        elif order == "pid":
            return str(os.getpid())
        elif order == "print":
            print(value)  # noqa: T201 - what is tried
        elif order == "flood":
            threading.Thread(target=_flood, args=(f"{value}\n".encode() * 1000,), daemon=True).start()
        elif order == "knock":
            _knock(bytes.fromhex(value))
        elif order in {"control", "data"}:
            threading.Timer(0.3, _interfere, (order, bytes.fromhex(value))).start()
        return text


def _knock(data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(_control_socket())
        one.sendall(data)
        one.recv(100)


def _control_socket() -> str:
    """Where the supervisor listens: what this process is connected to says it."""
    for fd in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(int(fd.name))) as one:
            name = one.getpeername()
            if isinstance(name, str) and name.endswith("/control.sock"):
                return name
    raise LookupError("no connection to the supervisor")


def _flood(block: bytes) -> None:
    while True:
        os.write(1, block)


def _interfere(which: str, data: bytes) -> None:
    for fd in [int(entry.name) for entry in Path("/proc/self/fd").iterdir()]:
        with contextlib.suppress(OSError), socket.socket(fileno=os.dup(fd)) as one:
            if one.family == socket.AF_UNIX and (which == "control") == ("control.sock" in str(one.getpeername())):
                if data:
                    one.sendall(data)
                else:
                    one.shutdown(socket.SHUT_RDWR)


mlflow.models.set_model(Moody())
