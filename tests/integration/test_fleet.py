"""Many models in one environment: what they import is imported once, and they are as far apart as ever."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.integration.serving import Serving, ask, serving, until
from tests.registries import place


def document(registry: str, names: tuple[str, ...], **more: Any) -> dict[str, Any]:
    return {
        "admin": {"port": 0},
        "bring_up_at_once": 1,
        "models": {
            name: {"uri": place(registry, "mood/1"), "port": 0, "environment": "local", **more} for name in names
        },
    }


@pytest.fixture(scope="module")
def one(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("fleet"), document(registry, ("a", "b", "c"))) as running:
        yield running


def hosts_of(one: Serving, name: str) -> list[int]:
    """The hosts of a model, by their ids."""
    return [
        p["pid"] for p in one.status(name)["current"]["processes"] if p["role"] == "host" and p["state"] == "loaded"
    ]


def hosts(one: Serving) -> dict[str, psutil.Process]:
    """The host of each model, by its name."""
    return {name: psutil.Process(until(lambda: hosts_of(one, name), "a host")[0]) for name in ("a", "b", "c")}  # noqa: B023


def own_bytes(process: psutil.Process) -> int:
    """What a process holds and shares with nobody."""
    return int(process.memory_full_info().uss)


def output(process: psutil.Process, fd: int) -> str:
    """What a descriptor of a process leads to."""
    return str(Path(f"/proc/{process.pid}/fd/{fd}").readlink())


def test_a_further_model_holds_little_of_its_own(one: Serving) -> None:
    for name in ("a", "b", "c"):
        assert ask(f"{one.url(name)}/invocations", {"instances": ["good"]}).status == 200
    (zygote,) = one.processes("role=zygote")
    imported_bytes = zygote.memory_info().rss
    found = hosts(one)
    assert all(host.ppid() == one.supervisor for host in found.values())
    assert own_bytes(found["c"]) < imported_bytes / 3, "it has imported for itself what the zygote has"


def test_the_status_tells_of_the_zygote(one: Serving) -> None:
    (zygote,) = one.processes("role=zygote")
    told = one.status("a")["current"]["zygote"]
    assert (told["pid"], told["left_out"], told["off"]) == (zygote.pid, {}, None)
    assert told["modules"] > 500
    assert told["forks"] >= 3
    threads = {Path(f"/proc/{zygote.pid}/task/{t.id}/comm").read_text().strip() for t in zygote.threads()}
    assert len(threads - {"jemalloc_bg_thd"}) == 1, "Arrow's stops before a fork"


def test_what_one_model_prints_is_told_as_its_own(one: Serving) -> None:
    for name, host in hosts(one).items():
        pipes = {output(host, 1), output(host, 2)}
        others = {output(other, 1) for model, other in hosts(one).items() if model != name}
        assert len(pipes) == 1
        assert not pipes & others


def test_a_host_that_dies_is_known_by_how_it_ended(one: Serving) -> None:
    host = hosts(one)["b"]
    os.kill(host.pid, 11)
    assert one.event("worker host ended", model="b")["exit"] == "killed by SIGSEGV"
    until(lambda: set(hosts_of(one, "b")) - {host.pid}, "another host")


def test_it_can_be_switched_off(registry: str, tmp_path: Path) -> None:
    with serving(tmp_path, document(registry, ("a",), share_imports=False)) as one:
        assert ask(f"{one.url('a')}/invocations", {"instances": ["good"]}).status == 200
        assert one.processes("role=zygote") == []
        assert one.status("a")["current"]["zygote"] is None
