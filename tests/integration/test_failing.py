"""A model that answers every request with an error: everybody who looks at it sees that."""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.serving import JSON, Serving, ask, serving, until
from tests.registries import place

BAD = {"inputs": ["raise:out of order"]}
GOOD = {"inputs": ["a text"]}
LEAST = 3


def failing(registry: str, directory: Path, setting: str, *names: str) -> contextlib.AbstractContextManager[Serving]:
    document = {
        "admin": {"port": 0},
        "health": {"failing": setting},
        "models": {name: {"uri": place(registry, "moody/1"), "port": 0} for name in names},
    }
    return serving(directory, document)


@pytest.fixture(scope="module")
def several(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """One model for each test that breaks it."""
    with failing(registry, tmp_path_factory.mktemp("failing"), "warn", "seen", "why", "asked") as one:
        until(lambda: ask(f"{one.admin}/readyz").status == 200, "the models")
        yield one


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("headrace")), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_everybody_sees_it_and_sees_that_it_is_over(several: Serving) -> None:
    seen_by_everybody(several, "seen", is_warning=True)


def test_it_is_not_ready_where_that_is_asked_for(registry: str, tmp_path: Path) -> None:
    with failing(registry, tmp_path, "unready", "moody") as one:
        until(lambda: one.status("moody")["replicas"]["ready"] == 1, "the model")
        seen_by_everybody(one, "moody", is_warning=False)


def seen_by_everybody(one: Serving, name: str, *, is_warning: bool) -> None:
    url = one.url(name)
    assert one.status(name)["failing"] is None
    assert command("status", "--admin", one.admin).returncode == 0

    for _ in range(LEAST):
        assert ask(f"{url}/invocations", BAD).status == 400
    failing = until(lambda: one.status(name)["failing"], "it to be seen as failing")
    assert failing["share"] == 1.0
    assert (failing["last"]["status"], failing["last"]["error_code"]) == (400, "BAD_REQUEST")
    assert one.status(name)["state"] == "FAILING"
    assert one.event("failing", model=name)["reason"].startswith("100% of its last answers are errors")

    until(lambda: ask(f"{url}/ping").status == (200 if is_warning else 503), "the gateway to know")
    assert ask(f"{one.admin}/readyz").status == (200 if is_warning else 503)
    assert one.status(name)["ready"] is is_warning
    if is_warning:
        until(lambda: "headrace-failing" in {name.lower() for name in ask(f"{url}/ping").headers}, "the header")
        assert ask(f"{one.admin}/readyz").json["failing"][name].startswith("100% of its last answers")
    assert f'headrace_model_failing{{model="{name}"}} 1' in ask(f"{one.admin}/metrics").body.decode()
    page = ask(f"{one.admin}/models/{name}").body.decode()
    assert "Failing for" in page

    told = command("status", "--admin", one.admin)
    assert told.returncode == 1
    assert "FAILING" in told.stdout
    assert "failing since" in told.stdout
    assert command("check", "--admin", one.admin).returncode == 1
    # The last look, for its good requests count as any others do: after them the model may be well.
    checked = command("check", url, "--data", json.dumps(GOOD))
    assert checked.returncode == 1
    assert ("✗ answers" in checked.stdout) is is_warning

    def good() -> bool:
        assert ask(f"{url}/invocations", GOOD).status == 200, "it is asked all the while"
        return one.status(name)["failing"] is None

    until(good, "it to be well again")
    assert one.event("answers again", model=name)
    until(lambda: ask(f"{url}/ping").status == 200, "the gateway to know")
    assert command("status", "--admin", one.admin).returncode == 0


def test_everybody_can_see_why(several: Serving) -> None:
    one = several
    url = f"{one.url('why')}/invocations"
    assert command("errors", "why", "--admin", one.admin).stdout.endswith(
        "no version that is here has failed on a request\n"
    )
    for number in range(3):
        assert ask(url, BAD, headers={**JSON, "X-Request-Id": f"bad-{number}"}).status == 400
    assert ask(url, {"inputs": ["sleep:soon"]}, headers={**JSON, "X-Request-Id": "other"}).status == 400

    def seen() -> bool:
        entries = ask(f"{one.admin}/api/models/why/errors").json
        return [entry["count"] for entry in entries] == [1, 3]

    until(seen, "all failures")
    newest, oldest = ask(f"{one.admin}/api/models/why/errors").json
    assert (oldest["exception"], oldest["text"], oldest["count"]) == ("RuntimeError", "out of order", 3)
    assert oldest["request_ids"] == ["bad-0", "bad-1", "bad-2"]
    assert (newest["exception"], newest["request_ids"]) == ("ValueError", ["other"])
    assert "raise RuntimeError(value)" in oldest["traceback"]

    event = one.event("model error", model="why", request_id="bad-0")
    assert event["error"] == "RuntimeError: out of order"
    assert "raise RuntimeError(value)" in event["exception"]
    told = command("errors", "why", "--admin", one.admin).stdout
    assert "why/artifacts: RuntimeError: out of order\n  3 times" in told
    assert "request ids: bad-0, bad-1, bad-2" in told
    assert "    raise RuntimeError(value)" in told
    assert "out of order" in ask(f"{one.admin}/models/why").body.decode()


def test_the_callers_mistakes_do_not_count(several: Serving) -> None:
    one = several
    for _ in range(30):
        assert ask(f"{one.url('asked')}/invocations", {"no": "input"}).status == 400
    seen = one.status("asked")
    until(lambda: one.status("asked")["now"]["rejected_rate"], "the requests to be counted")
    assert seen["failing"] is None
    assert one.status("asked")["failing"] is None
