"""Memory of versions whose processes are real: this one."""

import asyncio
import os

from headrace.core.rollout.lifecycle import Life
from headrace.supervisor.admin.version_memory import VersionMemory
from headrace.supervisor.processes.worker_process import WorkerSpec
from headrace.supervisor.rollout.version import Version
from tests.unit.supervisor.rollout.fakes import Processes, resolved, until


def version(number: str, *pids: int) -> Version:
    made = Version("m", "production", int(number), resolved(number), Life())
    spec = WorkerSpec(
        key=made.key, model="m", label=made.label, replicas=1, environ={}, kept_back=frozenset(), options={},
        share_imports=False,
        timeout_s=1.0, hung_after_s=None,
    )  # fmt: skip
    processes = Processes(spec, lambda: None, None)
    processes.pids = [*pids]
    made.run_by(processes)
    return made


def test_weighed_once_shown_until_gone() -> None:
    async def run() -> None:
        memory, one, gone, away = VersionMemory(), version("1", os.getpid()), version("2"), version("3", 2**22)
        assert memory.of([one]) is None
        memory.look([one, gone, away])
        await until(lambda: memory.of([one]))
        held = memory.of([one, gone, away])
        assert held is not None
        assert held > 5_000_000
        assert memory.of([gone]) is memory.of([away]) is None
        memory.look([one])  # not due again
        assert memory.of([one]) == held
        memory.look([gone], all_there_are=True)
        assert memory.of([one]) is None

    asyncio.run(run())
