"""One version: its names, how gateways know it, and what it tells of itself."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from headrace.core.environments.mismatch import Report
from headrace.core.identity import Resolved
from headrace.core.protocol.messages import WorkerRef
from headrace.core.rollout.lifecycle import Life, State
from headrace.environments.preparing import Prepared
from headrace.registry.messages import Stored
from headrace.supervisor.processes.worker_process import WorkerSpec
from headrace.supervisor.rollout.version import Version
from tests.unit.supervisor.rollout.fakes import Processes, resolved

UP = [State.FETCHED, State.ENVIRONMENT_READY, State.LOADING, State.WARMING, State.READY]
PREPARED = Prepared(policy="local", python="python", report=Report((), ""))
STORED = Stored(digest="abc", path="/nowhere", size_bytes=1)


def made(which: Resolved | None = None) -> Version:
    return Version("served", "production", 7, which or resolved("3"), Life())


def processes(**options: Any) -> Processes:
    spec = WorkerSpec(
        key="k", model="m", label="m/1", replicas=2, environ={}, kept_back=frozenset(), options=options,
        share_imports=False, timeout_s=30.0, hung_after_s=None,
    )  # fmt: skip
    one = Processes(spec, lambda: None, None)
    one.facts = {"mlflow_version": "3.1", "python_version": "3.12", "signature": {"inputs": "[]"}}
    return one


def up(version: Version, workers: Processes, stored: Stored = STORED, prepared: Prepared = PREPARED) -> None:
    """As `bring_up` does, up to READY."""

    async def load() -> None:
        workers.load(stored.path, prepared, verified=True)

    version.fetched(stored)
    version.prepared_in(prepared)
    version.run_by(workers)
    for state in UP:
        version.life.to(state, 0.0)
    asyncio.run(load())


def test_what_clients_see_names_the_version_and_the_key_is_unique() -> None:
    assert (made().label, made().key) == ("topic/3", "topic/3@production#7")
    path = Resolved(uri="models:/x", name="", version="", source="/models/my model/")
    assert made(path).label.startswith("served/my")
    assert " " not in made(path).label


def test_a_version_is_no_pool_before_it_is_ready() -> None:
    version, workers = made(), processes()
    assert version.pool() is None
    assert version.ready == 0
    version.run_by(workers)
    assert version.pool() is None
    up(version, workers)
    pool = version.pool()
    assert pool is not None
    assert (pool.key, pool.model, pool.label, pool.mlflow_version) == (version.key, "served", "topic/3", "3.1")
    assert pool.workers == (WorkerRef("w0", "/nowhere.sock"), WorkerRef("w1", "/nowhere.sock"))
    assert version.ready == 2
    assert pool.mergeable


@pytest.mark.parametrize("where", ["facts", "warm_up"])
def test_what_was_seen_not_to_be_mergeable_is_not_merged(where: str) -> None:
    version, workers = made(), processes()
    up(version, workers)
    getattr(workers, where)["mergeable"] = False
    pool = version.pool()
    assert pool is not None
    assert not pool.mergeable


def test_the_identity_changes_with_all_that_computes_the_answers_and_with_nothing_else() -> None:
    def identity(
        stored: Stored = STORED, prepared: Prepared = PREPARED, facts: dict[str, Any] | None = None, **options: Any
    ) -> str:
        version, workers = made(), processes(**options)
        workers.facts |= facts or {}
        up(version, workers, stored, prepared)
        pool = version.pool()
        assert pool is not None
        assert pool.identity
        return pool.identity

    elsewhere = msgspec.structs.replace(STORED, path="/elsewhere")
    assert identity() == identity(elsewhere) == identity(facts={"took_s": 5})
    other = [
        identity(),
        identity(msgspec.structs.replace(STORED, digest="def")),
        identity(prepared=replace(PREPARED, digest="e" * 32)),
        identity(facts={"python_version": "3.11"}),
        identity(facts={"mlflow_version": "3.2"}),
        identity(tolerance="auto"),
    ]
    assert len(set(other)) == len(other)


def test_hazards_are_counted_by_name_and_only_so_many_names() -> None:
    version = made()
    assert version.count_hazard("truncated", 2) == ("truncated", True)
    assert version.count_hazard("truncated", 3) == ("truncated", False)
    for number in range(100):
        version.count_hazard(f"h{number}", 1)
    assert version.hazards["truncated"] == 5
    assert sum(version.hazards.values()) == 105
    assert len(version.hazards) == 33
    assert version.count_hazard("yet another", 1) == ("other", False)


def test_it_knows_whether_it_serves_for_the_first_time() -> None:
    version = made()
    assert (version.has_served, version.serves(), version.has_served, version.serves()) == (False, True, True, False)


def test_it_can_be_described_at_any_time() -> None:
    version, workers = made(), processes()
    told = version.describe()
    assert (told["label"], told["state"], told["digest"], told["environment"]) == ("topic/3", "RESOLVED", None, None)
    up(version, workers)
    version.measured(0.25)
    told = version.describe()
    assert (told["state"], told["digest"], told["ready"], told["example_s"]) == ("READY", "abc", 2, 0.25)
    assert version.signature == {"inputs": "[]"}
