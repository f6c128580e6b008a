"""The supervisor may be killed at any moment: nobody's request fails, another comes, and nothing is left behind."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.faults.test_process_death import HAPPY, config, pids
from tests.integration.load import Load
from tests.integration.moving import Registry
from tests.integration.serving import Serving, ask, serving, until
from tests.processes import family
from tests.registries import place


def kill(one: Serving) -> int:
    """Kill the supervisor; returns the process id of the next one."""
    before = one.supervisor
    os.kill(before, signal.SIGKILL)
    found: int = until(lambda: pids(one, "headrace.supervisor") - {before}, "another supervisor").pop()
    return found


def taken_over(one: Serving, times: int) -> None:
    """Wait until supervisors have taken over so often, and what was there before has ended."""
    until(lambda: len([e for e in one.events if e["event"] == "taken over"]) >= times, "the next to serve")
    until(lambda: len(pids(one, "headrace.gateway")) == 1, "the old gateway's end")


def listeners(port: int) -> int:
    """How many sockets listen on a port."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return sum(row[3] == "0A" and int(row[1].rpartition(":")[2], 16) == port for row in rows)


def die_under_load(registry: str, moves: Registry, directory: Path, times: int) -> None:
    """Kill it again and again under load; at every other time while an alias moves."""
    moves.point("mood", "dying", "1")
    model = {"uri": "models:/mood@dying", "replicas": 2, "rollout": {"keep_old_s": 0}}
    document = config(registry, mood=model)
    with serving(directory, document) as one:
        url = one.url("mood")
        port = int(url.rpartition(":")[2])
        until(lambda: one.status("mood")["replicas"]["ready"] == 2, "both replicas")
        keeper = one.process.pid
        with Load(f"{url}/invocations", HAPPY, pause_s=0.005) as load:
            load.more()
            for number in range(1, times + 1):
                version = str(1 + number // 2 % 2)
                if number % 2 == 0:
                    moves.point("mood", "dying", version)
                kill(one)
                load.more()
                taken_over(one, number)
                wanted = f"mood/{version}"
                until(lambda: serving_version(one) == wanted, f"version {version}")  # noqa: B023 - called at once
                load.more()
        assert set(load.statuses) == {200}, load.statuses
        assert load.labels <= {"mood/1", "mood/2"}
        assert (one.process.pid, one.process.poll()) == (keeper, None)
        assert listeners(port) == 1
        until(lambda: len(pids(one, "role=replica")) == 2, "two replicas, and no more")
        assert len(pids(one, "role=host")) == len(pids(one, "headrace.registry")) == 1
        assert len(pids(one, "headrace.supervisor")) == 1
        until(lambda: not [p for p in family(keeper) if p.status() == psutil.STATUS_ZOMBIE], "the dead to be collected")
        assert len([e for e in one.events if e["event"] == "supervisor ended"]) == times
        history = ask(f"{url_of_admin(one)}/api/models/mood/history").json
        assert [entry["version"] for entry in history if entry["event"] == "serving"][-1] == serving_version(one)
        told = ask(f"{url_of_admin(one)}/api/processes").json["processes"]
        assert {"keeper": keeper, "supervisor": one.supervisor}.items() <= {p["role"]: p["pid"] for p in told}.items()
        assert {p["role"] for p in told} >= {"agent", "gateway", "zygote", "host", "replica"}
        assert {p["pid"] for p in told} == {keeper, *(p.pid for p in family(keeper))}
        assert all(p["memory_bytes"] > 1e6 and p["since"] > 1e9 and p["cpu_s"] >= 0.0 for p in told)
        assert one.stop() == 0


def url_of_admin(one: Serving) -> str:
    return [str(e["address"]) for e in one.events if e["event"] == "admin"][-1]


def serving_version(one: Serving) -> Any:
    return ask(f"{url_of_admin(one)}/api/models/mood").json["current"]["label"]


def test_killed_under_load_it_fails_no_request(registry: str, moves: Registry, tmp_path: Path) -> None:
    die_under_load(registry, moves, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_killed_fifty_times_under_load_it_fails_no_request(registry: str, moves: Registry, tmp_path: Path) -> None:
    die_under_load(registry, moves, tmp_path, 50)


@pytest.mark.slow
def test_killed_before_it_has_taken_over_those_before_it_serve_on(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1")})) as one:
        url = f"{one.url('moody')}/invocations"
        with Load(url, {"instances": ["print:a line"]}, pause_s=0.005) as load:
            load.more()
            for _ in range(3):
                kill(one)
            load.more()
            taken_over(one, 1)
            load.more()
        assert set(load.statuses) == {200}, load.statuses
        until(lambda: len(pids(one, "role=replica")) == 1, "the end of those that served before")


@pytest.mark.slow
def test_a_long_answer_is_finished_by_those_before(registry: str, tmp_path: Path) -> None:
    import threading

    with serving(tmp_path, config(registry, moody={"uri": place(registry, "moody/1")})) as one:
        answers: list[Any] = []
        url = f"{one.url('moody')}/invocations"
        asking = threading.Thread(target=lambda: answers.append(ask(url, {"instances": ["sleep:12"]})))
        asking.start()
        kill(one)
        one.event("taken over")
        asking.join()
        assert [answer.status for answer in answers] == [200]
        until(lambda: len(pids(one, "role=replica")) == 1, "the end of those that served before")


def test_nothing_survives_the_keeper_while_two_generations_serve(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, mood={"uri": place(registry, "mood/1")})) as one:
        one.url("mood")
        kill(one)
        running = family(one.process.pid)
        assert len(running) >= 3, "a supervisor, and what has outlived the one before: a gateway and a replica"
        one.process.kill()
        _, left = psutil.wait_procs(running, timeout=60)
        assert left == []


def test_a_stop_with_two_generations_ends_in_order(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, mood={"uri": place(registry, "mood/1")})) as one:
        one.url("mood")
        kill(one)
        assert one.stop() == 0


def test_a_file_that_is_wrong_by_then_costs_nothing_until_it_is_given_up(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, config(registry, mood={"uri": place(registry, "mood/1")})) as one:
        url = f"{one.url('mood')}/invocations"
        file = tmp_path / "headrace.yaml"
        good = file.read_text()
        file.write_text("models: 3\n")
        os.kill(one.supervisor, signal.SIGKILL)
        until(lambda: any("models" in line for line in one.other_lines), "the reason")
        assert ask(url, HAPPY).status == 200
        file.write_text(good)
        taken_over(one, 1)
        assert ask(url, HAPPY).status == 200
