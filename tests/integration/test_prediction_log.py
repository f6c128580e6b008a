"""The prediction log of a running server: what is kept, what is not, and that nothing of it ever costs a request."""

from __future__ import annotations

import gzip
import json
import os
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from headrace.core.serving.sampling import point
from tests.integration.serving import HEADRACE, JSON, Serving, ask, serving, until

GOOD = {"instances": ["good great happy"]}


@pytest.fixture(scope="module")
def one(registry: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    directory = tmp_path_factory.mktemp("predictions")

    def model(name: str, **log: Any) -> dict[str, Any]:
        kept = {"path": str(directory / "kept"), **log}
        return {"uri": f"models:/{name}@production", "environment": "local", "prediction_log": kept}

    config = {
        "registry": {"tracking_uri": registry, "poll_s": 60},
        "admin": {"port": 0},
        "gateway": {"port": 0},
        "models": {
            "plain": model("mood") | {"cache": {}},
            "columns": model("mood", format="parquet", max_file_bytes=4096, keep=2),
            "tailed": model("mood", format="parquet", max_file_bytes=4096, keep=None),
            "half": model("mood", sample=0.5),
            "secret": model("mood", redact=["instances", "text"]),
            "broken": model("mood", path=str(directory / "file" / "kept")),
            "full": model("mood", path=str(directory / "full")),
        },
    }
    (directory / "file").write_text("a directory cannot be here")
    (directory / "full").mkdir()
    (directory / "full" / "full.jsonl").symlink_to("/dev/full")
    with serving(directory, config) as running:
        running.directory = directory / "kept"  # type: ignore[attr-defined]
        yield running


def kept(one: Serving) -> Path:
    directory: Path = one.directory  # type: ignore[attr-defined]
    return directory


def post(one: Serving, model: str, body: Any = GOOD, request_id: str = "", **headers: str) -> int:
    url = f"{one.url(model)}/models/{model}/invocations"
    return ask(url, body, headers={**JSON, **({"X-Request-Id": request_id} if request_id else {}), **headers}).status


def lines(one: Serving, model: str) -> list[dict[str, Any]]:
    path = kept(one) / f"{model}.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def entry(one: Serving, model: str, request_id: str) -> dict[str, Any]:
    found: dict[str, Any] = until(
        lambda: next((line for line in lines(one, model) if line["request_id"] == request_id), None), request_id
    )
    return found


def command(*arguments: str) -> str:
    done = subprocess.run([HEADRACE, "log", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_request_and_its_answer_are_kept_with_version_and_latency(one: Serving) -> None:
    assert post(one, "plain", request_id="first") == 200
    line = entry(one, "plain", "first")
    assert (line["request"], line["answer"], line["status"]) == (GOOD, {"predictions": ["pos"]}, 200)
    assert (line["model"], line["version"], line["rows"], line["cache"]) == ("plain", "mood/1", 1, "miss")
    assert 0 <= line["queue_s"] <= line["latency_s"] < 60
    post(one, "plain", request_id="again")
    assert entry(one, "plain", "again")["cache"] == "hit"
    assert post(one, "plain", {"nonsense": 1}, request_id="wrong") == 400
    assert entry(one, "plain", "wrong")["request"] == {"nonsense": 1}
    for path in kept(one).iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(kept(one).stat().st_mode) == 0o700


def test_a_share_is_chosen_by_the_requests_id(one: Serving) -> None:
    names = [f"share-{i}" for i in range(30)]
    for name in names:
        post(one, "half", request_id=name)
    expected = [name for name in names if point(name.encode()) < 0.5]
    until(lambda: [line["request_id"] for line in lines(one, "half")] == expected, "exactly the sampled ones")


def test_redacted_fields_are_nowhere(one: Serving) -> None:
    word = "harmless"
    post(one, "secret", {"instances": [word]}, request_id="members")
    post(one, "secret", {"dataframe_split": {"columns": ["text"], "data": [[word]]}}, request_id="columns")
    ask(
        f"{one.url('secret')}/models/secret/invocations",
        [word],
        headers={"Content-Type": "text/csv", "X-Request-Id": "csv"},
    )
    assert entry(one, "secret", "members")["request"] == {"instances": "[redacted]"}
    assert entry(one, "secret", "columns")["request"]["dataframe_split"]["data"] == [["[redacted]"]]
    entry(one, "secret", "csv")
    assert word not in (kept(one) / "secret.jsonl").read_text()


def test_compressed_and_large_bodies(one: Serving) -> None:
    url = f"{one.url('plain')}/models/plain/invocations"
    import http.client
    from urllib.parse import urlsplit

    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    headers = {**JSON, "Content-Encoding": "gzip", "X-Request-Id": "zipped"}
    connection.request("POST", parts.path, gzip.compress(json.dumps(GOOD).encode()), headers)
    assert connection.getresponse().status == 200
    connection.close()
    assert entry(one, "plain", "zipped")["request"] == GOOD
    post(one, "plain", {"instances": ["x" * 70_000]}, request_id="large")
    large = entry(one, "plain", "large")
    assert (large["request"], large["omitted"]) == (None, "request: too large")


def test_files_are_finished_turned_into_parquet_and_forgotten(one: Serving) -> None:
    names = [f"column-{i:03}" for i in range(100)]
    for name in names:
        post(one, "columns", request_id=name)

    def finished() -> list[Path]:
        return sorted(kept(one).glob("columns-*.parquet"))

    def there() -> list[str]:
        found = [row["request_id"] for path in finished() for row in pq.read_table(path).to_pylist()]
        # How long an entry is depends on its digits: the last may have finished a file.
        return found + [line["request_id"] for line in lines(one, "columns")]

    until(
        lambda: len(finished()) == 2 and there()[-1:] == names[-1:], "two finished files, the oldest gone, and the last"
    )
    table = pq.read_table(finished()[0]).to_pylist()
    assert {row["answer"] for row in table} == {'{"predictions":["pos"]}'}
    assert {json.loads(row["request"])["instances"][0] for row in table} == set(GOOD["instances"])
    assert str(pq.read_schema(finished()[0]).field("time").type) == "timestamp[us, tz=UTC]"
    assert not list(kept(one).glob("*.part"))
    assert stat.S_IMODE(finished()[0].stat().st_mode) == 0o600
    kept_ones = there()
    assert kept_ones == names[-len(kept_ones) :], "whole files are forgotten, nothing between is missing"
    shown = command("tail", "columns", "--no-follow", "--json", "-n", "40", "--admin", one.admin)
    assert [json.loads(line)["request_id"] for line in shown.splitlines()] == kept_ones[-40:]


@pytest.mark.parametrize(("model", "reason"), [("broken", "Not a directory"), ("full", "No space left on device")])
def test_where_it_cannot_be_written_serving_goes_on_and_it_is_said_once(one: Serving, model: str, reason: str) -> None:
    for _ in range(20):
        assert post(one, model) == 200
    event = one.event("prediction log failing", model=model)
    assert event["reason"] == reason
    until(lambda: _count(one, "failed") >= 20, "the failures to be counted")
    assert sum(e["event"] == "prediction log failing" and e["model"] == model for e in one.events) == 1


def test_it_is_written_again_when_there_is_room(one: Serving) -> None:
    post(one, "full")
    one.event("prediction log failing", model="full")
    (kept(one).parent / "full" / "full.jsonl").unlink()
    until(lambda: post(one, "full") == 200 and (kept(one).parent / "full" / "full.jsonl").exists(), "a new file")
    assert one.event("prediction log works again", model="full")["not_written"] > 0


def test_a_gateway_or_a_recorder_that_is_killed_leaves_whole_lines(one: Serving) -> None:
    for role in ("headrace.gateway", "headrace.recorder"):
        (process,) = one.processes(role)
        for i in range(20):
            post(one, "plain", request_id=f"{role}-{i}")
        os.kill(process.pid, signal.SIGKILL)
        until(lambda r=role, p=process: {q.pid for q in one.processes(r)} - {p.pid}, "another")  # type: ignore[misc]
        until(lambda r=role: post(one, "plain", request_id=f"after-{r}") == 200, "an answer")  # type: ignore[misc]
        until(lambda: post(one, "plain") and lines(one, "plain")[-1], "the log to go on")
        assert all(line["answer"] for line in lines(one, "plain"))


def test_tail_follows_from_file_to_file(one: Serving) -> None:
    arguments = [HEADRACE, "log", "tail", "tailed", "--json", "-n", "0", "--admin", one.admin]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as following:
        assert following.stdout is not None
        names: list[str] = []
        seen: list[str] = []
        post(one, "tailed", request_id="warm-up")
        while not seen:  # it has begun to follow
            names.append(f"begin-{len(names)}")
            post(one, "tailed", request_id=names[-1])
            os.set_blocking(following.stdout.fileno(), False)
            seen += [json.loads(line)["request_id"] for line in following.stdout]
        os.set_blocking(following.stdout.fileno(), True)
        before = set(kept(one).glob("tailed-*.parquet"))
        for i in range(60):
            post(one, "tailed", request_id=f"follow-{i}")
        while seen[-1] != "follow-59":
            seen.append(json.loads(following.stdout.readline())["request_id"])
        following.terminate()
    assert seen[-60:] == [f"follow-{i}" for i in range(60)]
    assert set(kept(one).glob("tailed-*.parquet")) - before, "it went through more than one file"


def test_drift_shows_the_share_of_each_label(one: Serving) -> None:
    for i in range(4):
        post(one, "half", {"instances": ["good great happy"] * 3 + ["bad awful sad"]}, request_id=f"drift-{i}")
    report = json.loads(command("drift", "half", "--json", "--admin", one.admin))
    assert set(report["labels"]) == {"pos", "neg"}
    (version,) = report["versions"]
    assert version["version"] == "mood/1"
    assert abs(sum(version["shares"].values()) - 1) < 1e-9
    text = command("drift", "half", "--path", str(kept(one)))
    assert "over time" in text
    assert "mood/1" in text


def _count(one: Serving, result: str) -> float:
    text = ask(f"{one.admin}/metrics").body.decode()
    for line in text.splitlines():
        if line.startswith(f'headrace_records_total{{log="prediction",result="{result}"}}'):
            return float(line.rpartition(" ")[2])
    return 0.0
