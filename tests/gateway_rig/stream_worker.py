"""Workers with a model that streams: the real scorer and the real socket loop, without a supervisor.

    python -m tests.gateway_rig.stream_worker

Each line ``SOCKET LOG`` on standard input starts one, a fork of this process as a replica is of its host; the answer is
its process's number, when it listens. All end with standard input.

A stream is asked for with the text ``COUNT SIZE``: so many pieces, of so many characters; ``COUNT SIZE PATH`` waits
before each piece but the first until the file is there. When a generator ends, however it does, the log gets a line
with the number of the pieces that it made and how it ended. Any other request is answered with its texts, after its
orders: ``wait PATH`` (until that file exists), ``sleep S``, ``burn S`` (of the processor's time), ``die``,
``lonely S`` (sleep, and fail if another call does so, too); the log gets the text before that.
"""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import socket
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

warnings.simplefilter("ignore")

from mlflow.models import Model, ModelSignature  # noqa: E402
from mlflow.pyfunc import PyFuncModel  # noqa: E402

from headrace_worker import scoring, serving  # noqa: E402
from tests.unit.worker.models import TEXT  # noqa: E402


def wait(path: str) -> None:
    """Wait for a file."""
    while not Path(path).exists():
        time.sleep(0.005)


def burn(seconds: str) -> None:
    """Compute."""
    until_s = time.thread_time() + float(seconds)
    while time.thread_time() < until_s:
        pass


_lonely = threading.Lock()


def lonely(seconds: str) -> None:
    """Fail in company."""
    if not _lonely.acquire(blocking=False):
        raise RuntimeError("another call is here")
    with contextlib.ExitStack() as stack:
        stack.callback(_lonely.release)
        time.sleep(float(seconds))


ORDERS: dict[str, Callable[[str], None]] = {
    "wait": wait,
    "sleep": lambda seconds: time.sleep(float(seconds)),
    "burn": burn,
    "lonely": lonely,
    "die": lambda _: os._exit(9),
}


class Chatty:
    """See the module's docstring."""

    def __init__(self, log: Path) -> None:
        self._log = log

    def predict(self, data: Any, params: Any = None) -> list[str]:  # noqa: ARG002 - MLflow's signature
        """The texts, when their orders are obeyed."""
        for text in data["text"]:
            order, _, rest = text.partition(" ")
            if order in ORDERS:
                self._tell(text)
                ORDERS[order](rest)
        return list(data["text"])

    def predict_stream(self, data: Any, params: Any = None) -> Iterator[str]:  # noqa: ARG002
        """The pieces."""
        text = data["text"]  # MLflow gives a stream the only row as it is
        count, size, *gate = str(text if isinstance(text, str) else text.iloc[0]).split(" ")
        made = 0
        try:
            while made < int(count):
                while made and gate and not Path(gate[0]).exists():
                    time.sleep(0.1)
                made += 1
                yield "x" * int(size)
        except GeneratorExit:
            self._tell(f"{made} closed")
            raise
        self._tell(f"{made} done")

    def _tell(self, line: str) -> None:
        with self._log.open("a") as log:
            print(line, file=log)


def serve(path: str, log: Path) -> None:
    """Serve until killed."""
    meta = Model()
    meta.add_flavor("python_function", loader_module="tests.unit.worker.models")
    meta.signature = ModelSignature(inputs=TEXT)
    model = PyFuncModel(model_meta=meta, model_impl=Chatty(log), predict_stream_fn="predict_stream")
    scorer = scoring.Scorer(model, "nowhere", scoring.ScoringOptions())
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(16)
    os.write(1, b"%d\n" % os.getpid())
    serving.serve(listener, scorer, stop=lambda: False)


def main() -> None:
    """Start what is asked for, and end all of it when nothing more can be asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody has to collect them
    gc.freeze()
    for line in iter(sys.stdin.readline, ""):
        path, log = line.split()
        if os.fork() == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            serve(path, Path(log))
            os._exit(0)
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
