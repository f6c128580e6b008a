"""What the admin port and `headrace status` say of known traffic: numbers, the ports that were bound, exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.integration.serving import HEADRACE, Serving, ask, serving, until
from tests.integration.test_serve import HAPPY, config


@pytest.fixture(scope="module")
def one(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """`mood` with a cache on a port of its own, `shared` on the shared one, `broken` that is; after known traffic."""
    document = config(
        registry,
        mood={"uri": "models:/mood@production", "cache": {}},
        shared={"uri": "models:/mood/2", "port": None},
        broken={"uri": "models:/broken@production"},
    )
    document["gateway"] = {"port": 0}
    with serving(tmp_path_factory.mktemp("status"), document) as started:
        url = started.url("mood")
        until(lambda: started.status("shared")["ready"], "the other model")
        until(lambda: started.status("broken")["state"] == "FAILED", "the failure")
        until(lambda: started.status("mood")["now"]["over_s"], "the first interval")
        for _ in range(30):
            assert ask(f"{url}/invocations", HAPPY).status == 200
        for _ in range(10):
            assert ask(f"{url}/invocations", {"nonsense": 1}).status == 400
        yield started


def status(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [HEADRACE, "status", *arguments], capture_output=True, text=True, check=False, env={"COLUMNS": "200"}
    )


def test_known_traffic_in_the_last_seconds_and_minutes(one: Serving) -> None:
    def counted(told: dict[str, Any]) -> bool:
        return bool(round(told["requests_per_s"] * told["over_s"]) == 40)

    now = until(lambda: counted(one.status("mood")["now"]) and one.status("mood")["now"], "all of it to be in there")
    assert now["rejected_rate"] == 0.25
    assert now["error_rate"] == 0.0
    assert now["cache_hit_rate"] == pytest.approx(29 / 40, abs=1e-4)
    assert 0 < now["p50_ms"] <= now["p99_ms"]
    assert (now["queued"], now["in_flight"]) == (0, 0)
    assert list(one.status("mood")["now_by_version"]) == ["mood/1"]
    assert one.status("shared")["now"]["requests_per_s"] == 0

    def recent() -> dict[str, Any]:
        told: dict[str, Any] = ask(f"{one.admin}/api/models/mood/recent").json
        return told

    told = until(lambda: any(recent()["requests_per_s"]) and recent(), "a point with the traffic")
    assert (
        len(told["at"]) == len(told["requests_per_s"]) == len(told["p99_ms"]) == len(told["versions"]["mood/1"]["at"])
    )
    assert ask(f"{one.admin}/api/models/nothing/recent").status == 404


def test_the_ports_that_were_bound(one: Serving) -> None:
    own, shared = one.status("mood"), one.status("shared")
    assert own["url"] == one.url("mood")
    assert own["url"].endswith(f":{own['port']}")
    assert shared["port"] is None
    assert ask(f"{shared['url']}/invocations", HAPPY).json == {"predictions": ["good"]}


def test_the_command_as_a_table_and_as_json(one: Serving) -> None:
    table = status("--admin", one.admin)
    assert table.returncode == 1, "one model has failed"
    head, *rows = (line.split() for line in table.stdout.splitlines())
    assert head == ["service", "port", "state", "version", "replicas", "req/s", "p50", "p99", "errors", "note"]
    named = {row[0]: row for row in rows}
    assert named["mood"][:5] == ["mood", str(one.status("mood")["port"]), "SERVING", "mood/1", "1/1"]
    assert "(shared)" in named["shared"]
    assert named["broken"][2:5] == ["FAILED", "-", "0/1"]
    told = json.loads(status("--json", "--admin", one.admin).stdout)
    assert [m["name"] for m in told["models"]] == ["broken", "mood", "shared"]


def test_a_wrong_address_and_a_wrong_option() -> None:
    silent = status("--admin", "http://127.0.0.1:1")
    assert (silent.returncode, silent.stdout) == (1, "")
    assert "nothing answers at http://127.0.0.1:1/api/models" in silent.stderr
    assert status("--nonsense").returncode == 2


def test_watching_shows_what_is_new_until_it_is_ended(one: Serving) -> None:
    watching = subprocess.Popen(
        [HEADRACE, "status", "--watch", "--json", "--admin", one.admin], stdout=subprocess.PIPE, text=True
    )
    assert watching.stdout is not None
    try:
        for _ in range(2):
            assert json.loads(watching.stdout.readline())["models"][1]["name"] == "mood"
        watching.send_signal(signal.SIGINT)
        assert watching.wait(60) == 130
    finally:
        watching.kill()
        watching.wait()
        watching.stdout.close()
