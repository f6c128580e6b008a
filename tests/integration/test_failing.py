"""A model that answers every request with an error: everybody who looks at it sees that."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.serving import JSON, Serving, ask, serving, until

BAD = {"inputs": ["raise:out of order"]}
GOOD = {"inputs": ["a text"]}
LEAST = 3


@pytest.fixture(params=["warn", "unready"])
def one(registry: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Serving]:
    document = {
        "registry": {"tracking_uri": registry},
        "admin": {"port": 0},
        "health": {"failing": request.param},
        "models": {"moody": {"uri": "models:/moody/1", "port": 0}},
    }
    with serving(tmp_path, document) as running:
        until(lambda: running.status("moody")["replicas"]["ready"] == 1, "the model")
        running.setting = request.param  # type: ignore[attr-defined]
        yield running


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).with_name("headrace")), *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_everybody_sees_it_and_sees_that_it_is_over(one: Serving) -> None:
    url = one.url("moody")
    assert one.status("moody")["failing"] is None
    assert command("status", "--admin", one.admin).returncode == 0

    for _ in range(LEAST):
        assert ask(f"{url}/invocations", BAD).status == 400
    failing = until(lambda: one.status("moody")["failing"], "it to be seen as failing")
    assert failing["share"] == 1.0
    assert (failing["last"]["status"], failing["last"]["error_code"]) == (400, "BAD_REQUEST")
    assert one.status("moody")["state"] == "FAILING"
    assert one.event("failing", version="moody/1")["reason"].startswith("100% of its last answers are errors")

    is_warning = one.setting == "warn"  # type: ignore[attr-defined]
    until(lambda: ask(f"{url}/ping").status == (200 if is_warning else 503), "the gateway to know")
    assert ask(f"{one.admin}/readyz").status == (200 if is_warning else 503)
    assert one.status("moody")["ready"] is is_warning
    if is_warning:
        until(lambda: "headrace-failing" in {name.lower() for name in ask(f"{url}/ping").headers}, "the header")
        assert ask(f"{one.admin}/readyz").json["failing"]["moody"].startswith("100% of its last answers")
    assert 'headrace_model_failing{model="moody"} 1' in ask(f"{one.admin}/metrics").body.decode()
    page = ask(f"{one.admin}/models/moody").body.decode()
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
        return one.status("moody")["failing"] is None

    until(good, "it to be well again")
    assert one.event("answers again", version="moody/1")
    until(lambda: ask(f"{url}/ping").status == 200, "the gateway to know")
    assert command("status", "--admin", one.admin).returncode == 0


def test_everybody_can_see_why(one: Serving) -> None:
    url = f"{one.url('moody')}/invocations"
    assert command("errors", "moody", "--admin", one.admin).stdout.endswith(
        "no version that is here has failed on a request\n"
    )
    for number in range(3):
        assert ask(url, BAD, headers={**JSON, "X-Request-Id": f"bad-{number}"}).status == 400
    assert ask(url, {"inputs": ["sleep:soon"]}, headers={**JSON, "X-Request-Id": "other"}).status == 400

    def seen() -> bool:
        entries = ask(f"{one.admin}/api/models/moody/errors").json
        return [entry["count"] for entry in entries] == [1, 3]

    until(seen, "all failures")
    newest, oldest = ask(f"{one.admin}/api/models/moody/errors").json
    assert (oldest["exception"], oldest["text"], oldest["count"]) == ("RuntimeError", "out of order", 3)
    assert oldest["request_ids"] == ["bad-0", "bad-1", "bad-2"]
    assert (newest["exception"], newest["request_ids"]) == ("ValueError", ["other"])
    assert "raise RuntimeError(value)" in oldest["traceback"]

    event = one.event("model error", request_id="bad-0")
    assert event["error"] == "RuntimeError: out of order"
    assert "raise RuntimeError(value)" in event["exception"]
    told = command("errors", "moody", "--admin", one.admin).stdout
    assert "moody/1: RuntimeError: out of order\n  3 times" in told
    assert "request ids: bad-0, bad-1, bad-2" in told
    assert "    raise RuntimeError(value)" in told
    assert "out of order" in ask(f"{one.admin}/models/moody").body.decode()


def test_the_callers_mistakes_do_not_count(one: Serving) -> None:
    for _ in range(30):
        assert ask(f"{one.url('moody')}/invocations", {"no": "input"}).status == 400
    seen = one.status("moody")
    until(lambda: one.status("moody")["now"]["rejected_rate"], "the requests to be counted")
    assert seen["failing"] is None
    assert one.status("moody")["failing"] is None
