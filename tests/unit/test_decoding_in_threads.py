"""Several models are brought up at once, in threads: reading what is kept of them must not end the process."""

import subprocess
import sys
from pathlib import Path

import pytest

from headrace.core.identity import Resolved
from headrace.registry.store import Store
from headrace.supervisor.rollout.history import History, Memory

VERSION = Resolved(uri="models:/a@p", name="a", version="1", source="models:/m-1")

# The first reading of each kind, by all threads at once. Where decoders were made at that moment, one process in seven
# ended with a segmentation fault.
READ = """
import sys, threading
from pathlib import Path
from headrace.environments.store import EnvironmentStore
from headrace.registry.store import Store
from headrace.supervisor.rollout.history import History

home = Path(sys.argv[1])
sys.setswitchinterval(1e-6)
environments, models, history = EnvironmentStore(home), Store(home, "r"), History(home, "r", "models:/a@p", "a")
reads = {
    "environment": lambda: environments.find("a" * 32),
    "memory": history.recall,
    "entries": history.last,
    "resolution": lambda: models.last("models:/a@p"),
}
start = threading.Barrier(8)

def read():
    for kind in reads.values():
        start.wait()
        kind()

threads = [threading.Thread(target=read) for _ in range(8)]
[t.start() for t in threads]
[t.join() for t in threads]
"""
PROCESSES = 20


@pytest.fixture
def home(tmp_path: Path) -> Path:
    folder = tmp_path / "envs" / ("a" * 32)
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    (folder / "headrace.json").write_text("{}", encoding="utf-8")
    history = History(tmp_path, "r", VERSION.uri, "a")
    history.add("serving", "a/1", "the registry points at it")
    history.remember(Memory(served=[VERSION]))
    Store(tmp_path, "r").remember(VERSION)
    return tmp_path


@pytest.mark.slow
def test_what_is_kept_can_be_read_by_many_threads_at_once(home: Path) -> None:
    command = [sys.executable, "-c", READ, str(home)]
    for _ in range(PROCESSES):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (done.stderr, done.returncode) == ("", 0)
