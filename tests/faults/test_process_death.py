"""Any process may die at any moment: nobody's request fails, and nothing is left behind."""

import os
import signal
import threading
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.load import Load
from tests.integration.serving import Answer, Serving, ask, serving, until
from tests.processes import family, status
from tests.registries import place

HAPPY = {"instances": ["good great happy"]}


def config(registry: str, **models: dict[str, Any]) -> dict[str, Any]:
    return {
        "registry": {"tracking_uri": registry, "poll_s": 0.5},
        "admin": {"port": 0},
        "models": {name: {"port": 0, **model} for name, model in models.items()},
    }


def pids(one: Serving, role: str) -> set[int]:
    return {p.pid for p in one.processes(role)}


@pytest.mark.parametrize(("role", "replicas"), [("role=replica", 2), ("role=replica", 1), ("role=host", 2)])
def test_a_worker_killed_under_load_fails_no_request(registry: str, tmp_path: Path, role: str, replicas: int) -> None:
    with serving(tmp_path, config(registry, mood={"uri": place(registry, "mood/1"), "replicas": replicas})) as one:
        url = one.url("mood")
        until(lambda: one.status("mood")["replicas"]["ready"] == replicas, "all replicas")
        with Load(f"{url}/invocations", HAPPY, pause_s=0) as load:
            load.more()
            for _ in range(3):
                before = until(lambda: pids(one, role), "a process to kill")
                os.kill(min(before), signal.SIGKILL)
                until(lambda: pids(one, role) - before, "a new process in its place")  # noqa: B023 - called at once
                load.more()
            until(lambda: one.status("mood")["replicas"]["ready"] == replicas, "all replicas again")
        assert set(load.statuses) == {200}, load.statuses
        until(lambda: not zombies(one), "the dead to be collected")


def test_a_zygote_and_its_host_killed_under_load_fail_no_request(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, mood={"uri": place(registry, "mood/1")})) as one:
        with Load(f"{one.url('mood')}/invocations", HAPPY) as load:
            load.more()
            (zygote,), (host,) = pids(one, "role=zygote"), pids(one, "role=host")
            os.kill(zygote, signal.SIGKILL)
            one.event("zygote ended", exit="killed by SIGKILL from outside, and not for want of memory")
            os.kill(host, signal.SIGKILL)
            until(lambda: pids(one, "role=host") - {host}, "a new host")
            assert pids(one, "role=zygote") - {zygote}, "what it was forked from"
            load.more()
        assert set(load.statuses) == {200}, load.statuses
        until(lambda: not zombies(one), "the dead to be collected")


@pytest.mark.slow
def test_what_a_model_leaves_behind_is_collected(registry: str, tmp_path: Path) -> None:
    """As process 1 of a container nobody else would: here the supervisor is their subreaper, which is the same."""
    document = config(registry, moody={"uri": place(registry, "moody/1")})
    with serving(tmp_path, document) as one:
        answer = ask(f"{one.url('moody')}/invocations", {"inputs": ["leave behind"]}).json
        (pid,) = (int(text) for text in answer["predictions"])
        assert psutil.Process(pid).ppid() == one.supervisor
        os.kill(pid, signal.SIGKILL)
        until(lambda: not psutil.pid_exists(pid), "the orphan to be collected")


def zombies(one: Serving) -> list[psutil.Process]:
    """Processes of ours that have ended and that nobody has collected."""
    below = psutil.Process(one.process.pid).children(recursive=True)
    return [process for process in below if status(process) == psutil.STATUS_ZOMBIE]


def test_a_gateway_killed_under_load_is_replaced_and_workers_stay(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, mood={"uri": place(registry, "mood/1")})) as one:
        url = one.url("mood")
        workers = pids(one, "headrace_worker")
        with Load(f"{url}/invocations", HAPPY, pause_s=0) as load:
            load.more()
            (gateway,) = pids(one, "headrace.gateway")
            os.kill(gateway, signal.SIGKILL)
            until(lambda: pids(one, "headrace.gateway") - {gateway}, "a new gateway")
            load.more()
        answered = load.statuses.pop(200)
        assert answered > 50
        # What a dead gateway had in its hands is lost: at most one request for each client. None is refused.
        assert sum(load.statuses.values()) <= 4, load.statuses
        assert not any("refused" in str(s) for s in load.statuses), load.statuses
        assert pids(one, "headrace_worker") == workers


def test_the_registry_agent_may_die_and_serving_goes_on(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, mood={"uri": "models:/mood@production"})) as one:
        url = one.url("mood")
        with Load(f"{url}/invocations", HAPPY, pause_s=0) as load:
            (agent,) = pids(one, "headrace.registry")
            os.kill(agent, signal.SIGKILL)
            one.event("registry agent ended")
            until(lambda: pids(one, "headrace.registry") - {agent}, "a new agent")
            load.more()
        assert set(load.statuses) == {200}


def test_a_request_that_kills_its_worker_is_isolated(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1"), "replicas": 2})) as one:
        url = f"{one.url('moody')}/invocations"
        until(lambda: one.status("moody")["replicas"]["ready"] == 2, "both replicas")
        answers: dict[str, Answer] = {}

        def send(text: str) -> None:
            answers[text] = ask(url, {"instances": [text]})

        # Both workers are busy, so that what comes next is collected into one batch with the killer in it.
        texts = ["sleep:0.6", "sleep:0.7", "a", "b", "die", "c", "d"]
        threads = [threading.Thread(target=send, args=(text,)) for text in texts]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        killer = answers.pop("die")
        assert killer.status == 500
        assert killer.json["error_code"] == "WORKER_DIED"
        assert {t: (a.status, a.json) for t, a in answers.items()} == {t: (200, {"predictions": [t]}) for t in answers}
        until(lambda: one.status("moody")["replicas"]["ready"] == 2, "both replicas again")


def test_a_request_whose_worker_dies_by_chance_is_answered_by_the_next(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1")})) as one:
        text = f"die once:{tmp_path / 'died'}"
        answer = ask(f"{one.url('moody')}/invocations", {"instances": [text]})
        assert (answer.status, answer.json) == (200, {"predictions": [text]})


def test_a_hung_worker_is_killed_and_the_service_goes_on(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1"), "timeout_s": 1.0})) as one:
        url = f"{one.url('moody')}/invocations"
        before = pids(one, "role=replica")
        slow = ask(url, {"instances": ["sleep:30"]})
        assert slow.status == 504
        one.event("worker killed")
        after = ask(url, {"instances": ["ok"]})
        assert (after.status, after.json) == (200, {"predictions": ["ok"]})
        assert pids(one, "role=replica").isdisjoint(before)


def test_nothing_survives_the_keeper(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1"), "replicas": 2})) as one:
        url = f"{one.url('moody')}/invocations"
        until(lambda: one.status("moody")["replicas"]["ready"] == 2, "both replicas")
        running = family(one.process.pid)
        assert len(running) == 7, "supervisor, gateway, agent, zygote, host, two replicas"
        busy = threading.Thread(target=_ask_in_vain, args=(url,))
        busy.start()
        until(lambda: any(p.is_running() for p in running), "the family")
        one.process.kill()
        _, left = psutil.wait_procs(running, timeout=60)
        assert left == []
        busy.join()


def _ask_in_vain(url: str) -> None:
    with pytest.raises((OSError, Exception)):
        ask(url, {"instances": ["sleep:20"]})
