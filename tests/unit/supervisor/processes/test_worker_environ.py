"""How many threads the libraries of a model are told to start."""

import pytest

from headrace.config.tree import Model
from headrace.supervisor.processes.cores import available_cores
from headrace.supervisor.processes.worker_environ import worker_environ

POOLS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@pytest.mark.parametrize("replicas", [1, 2, 3, 1000])
def test_the_replicas_share_the_cores(replicas: int) -> None:
    made = worker_environ({}, Model(uri="models:/m/1", replicas=replicas), None)
    assert {made[name] for name in POOLS} == {str(max(1, available_cores() // replicas))}


def test_threads_that_wait_sleep_unless_the_user_or_the_model_says_otherwise() -> None:
    model = Model(uri="models:/m/1")
    assert worker_environ({}, model, None)["OMP_WAIT_POLICY"] == "passive"
    assert worker_environ({"OMP_WAIT_POLICY": "active"}, model, None)["OMP_WAIT_POLICY"] == "active"
    own = Model(uri="models:/m/1", env={"OMP_WAIT_POLICY": "active", "OMP_NUM_THREADS": "7"})
    made = worker_environ({"OMP_NUM_THREADS": "5"}, own, None)
    assert (made["OMP_WAIT_POLICY"], made["OMP_NUM_THREADS"]) == ("active", "7")


def test_the_setting_decides_for_all_pools() -> None:
    made = worker_environ({}, Model(uri="models:/m/1", replicas=2, threads=6), None)
    assert {made[name] for name in (*POOLS, "OPENBLAS_NUM_THREADS")} == {"6"}
