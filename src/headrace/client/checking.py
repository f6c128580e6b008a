"""Looking at served models as an operator would: alive, ready, version, an example prediction, latency, environment.

Every question is one plain HTTP request without any retry, for a retry would hide what is looked for. The standard
library's HTTP is enough for that, and takes a tenth of the start-up of a whole client: a container's health check runs
this every few seconds.
"""

from __future__ import annotations

import base64
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from headrace.client.addresses import without_credentials
from headrace.client.credentials import NO_CREDENTIALS, Credentials
from headrace.core.examples import made_up_example

LATENCY_REQUESTS = 20
_TEXT_EXAMPLE = {"inputs": ["headrace check"]}
_PAUSE_S = 0.2
_VERSION = re.compile(r"[0-9][0-9A-Za-z.+-]{0,63}")
_MOST_TOLD = 3
_EXAMPLES = {"given": "given example", "made": "example made from the signature", "guessed": "guessed example"}


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `ok` None: it could not be looked at, and that is no fault of the server."""

    what: str
    ok: bool | None
    told: str
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Report:
    """What was found at one address."""

    url: str
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(finding.ok is not False for finding in self.findings)


@dataclass(frozen=True)
class Wanted:
    """What to look for. `data`: the example's body, None: the admin API's or a text. `admin`: its URL, None: not known.

    `timeout_s` is for one request, `quick` leaves it at alive and ready; `credentials` are shown at every address.
    """

    data: bytes | None = None
    admin: str | None = None
    timeout_s: float = 10.0
    quick: bool = False
    credentials: Credentials = NO_CREDENTIALS


class _Silent(Exception):
    """Nothing answered; the message says why."""


@dataclass(frozen=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes
    took_s: float

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    @property
    def is_page(self) -> bool:
        """Whether it is a page for people: a portal's or a proxy's, and no model server's."""
        return self.headers.get("content-type", "").lower().startswith("text/html")

    def told(self) -> str:
        """The first words of an error."""
        value = self.json()
        text = value.get("message") or value.get("detail") if isinstance(value, dict) else None
        return " ".join(str(text or self.body[:200].decode("utf-8", "replace")).split())[:200]


class _Line:
    """A connection to one server, kept alive between requests and made anew when it broke."""

    def __init__(self, url: str, timeout_s: float, credentials: Credentials) -> None:
        parts = urlsplit(url)
        self._path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~")
        self._headers = {"User-Agent": "headrace-check", **credentials.headers}
        if parts.username is not None:
            told = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            self._headers["Authorization"] = f"Basic {base64.b64encode(told).decode()}"
        host, port = parts.hostname or "", parts.port
        self._connection: http.client.HTTPConnection
        if parts.scheme == "https":
            self._connection = http.client.HTTPSConnection(host, port, timeout=timeout_s, context=credentials.context())
        else:
            self._connection = http.client.HTTPConnection(host, port, timeout=timeout_s)

    def ask(self, path: str, body: bytes | None = None) -> _Answer:
        """One request; raises _Silent."""
        method = "GET" if body is None else "POST"
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        begun_s = time.perf_counter()
        try:
            self._connection.request(method, self._path + path, body, headers)
            response = self._connection.getresponse()
            data = response.read()
        except TimeoutError as error:
            self._connection.close()
            raise _Silent("no answer in time") from error
        except (OSError, http.client.HTTPException) as error:
            self._connection.close()
            raise _Silent(" ".join(str(error).split()) or type(error).__name__) from error
        named = {name.lower(): value for name, value in response.getheaders()}
        return _Answer(response.status, named, data, time.perf_counter() - begun_s)

    def close(self) -> None:
        self._connection.close()


def expand(url: str, timeout_s: float, credentials: Credentials = NO_CREDENTIALS) -> list[str]:
    """Return the addresses of every model where `url` is a shared port, else `url` alone."""
    url = url.rstrip("/").removesuffix("/invocations")
    line = _Line(url, timeout_s, credentials)
    try:
        if line.ask("/version").status != 404:
            return [url]
        models = line.ask("/models").json()
    except _Silent:
        return [url]
    finally:
        line.close()
    if not isinstance(models, list):
        return [url]
    return [f"{url}/models/{quote(m['name'])}" for m in models if isinstance(m, dict) and "name" in m] or [url]


def wait_ready(
    urls: list[str], wait_s: float, timeout_s: float, path: str = "/ping", credentials: Credentials = NO_CREDENTIALS
) -> None:
    """Return when every address says at `path` that it is ready, or after `wait_s` seconds."""
    end_s = time.monotonic() + wait_s
    missing = list(urls)
    while missing:
        missing = [url for url in missing if not _is_ready(url, timeout_s, path, credentials)]
        left_s = end_s - time.monotonic()
        if not missing or left_s <= 0:
            return
        time.sleep(min(_PAUSE_S, left_s))


def check(url: str, wanted: Wanted, tell: Callable[[Finding], None] = lambda _: None) -> Report:
    """Look at one address; `tell` hears each finding at once. Raises nothing for what a server does."""
    line = _Line(url, wanted.timeout_s, wanted.credentials)
    found: list[Finding] = []
    try:
        for finding in _look(url, line, wanted):
            found.append(finding)
            tell(finding)
    finally:
        line.close()
    return Report(without_credentials(url), tuple(found))


def check_all(
    admin: str,
    timeout_s: float,
    tell: Callable[[Finding], None] = lambda _: None,
    credentials: Credentials = NO_CREDENTIALS,
) -> Report:
    """Whether every model of the headrace with this admin port can answer; which cannot, and why."""
    line = _Line(admin, timeout_s, credentials)
    found: list[Finding] = []
    try:
        answer = line.ask("/readyz")
        waiting = (answer.json() or {}).get("waiting_for") or {} if isinstance(answer.json(), dict) else {}
        if answer.status == 200 and not isinstance(answer.json(), dict):
            told = f"/readyz does not answer as an admin port does: {answer.told()}"
            found.append(Finding("ready", ok=False, told=told, facts={"status": 200}))
        elif answer.status == 200:
            told = f"enough models can answer; not {', '.join(waiting)}" if waiting else "every model can answer"
            found.append(Finding("ready", ok=True, told=told))
            failing = answer.json().get("failing") or {}
            found += [Finding(str(name), ok=False, told=f"failing: {why}") for name, why in failing.items()]
        else:
            told = "not yet" if waiting else f"/readyz says {answer.status}: {answer.told()}"
            found.append(Finding("ready", ok=False, told=told, facts={"status": answer.status}))
            found += [Finding(str(name), ok=False, told=str(why)) for name, why in waiting.items()]
    except _Silent as silent:
        found.append(Finding("alive", ok=False, told=f"no answer: {silent}"))
    finally:
        line.close()
    for finding in found:
        tell(finding)
    return Report(without_credentials(admin), tuple(found))


def _is_ready(url: str, timeout_s: float, path: str, credentials: Credentials) -> bool:
    line = _Line(url, timeout_s, credentials)
    try:
        return line.ask(path).status == 200
    except _Silent:
        return False
    finally:
        line.close()


def _look(url: str, line: _Line, wanted: Wanted) -> Iterator[Finding]:
    try:
        ping = line.ask("/ping")
    except _Silent as silent:
        yield Finding("alive", ok=False, told=f"no answer: {silent}")
        return
    yield Finding("alive", ok=True, told=f"answers in {ping.took_s * 1000:.1f} ms", facts={"took_s": ping.took_s})
    if ping.is_page:
        told = f"/ping says {ping.status} with a page, as no model server does: {ping.told()}"
        yield Finding("ready", ok=False, told=told, facts={"status": ping.status})
    elif ping.status != 200:
        yield Finding("ready", ok=False, told=f"/ping says {ping.status}: {ping.told()}", facts={"status": ping.status})
    else:
        yield Finding("ready", ok=True, told="/ping says 200", facts={"status": 200})
    if failing := ping.headers.get("headrace-failing"):
        yield Finding("answers", ok=False, told=f"failing: {failing}", facts={"failing": failing})
    if wanted.quick:
        return
    model = None
    try:
        if wanted.admin:
            # Even an answer to a request that says nothing names the model.
            label = line.ask("/invocations", b"{}").headers.get("headrace-model")
            model, problem = _described(url, wanted.admin, label, wanted)
            if problem:
                yield Finding("admin", ok=False, told=problem)
        yield _version(line, model)
        body, whose = _example(wanted, model)
        example, answered = _predict(line, body, whose)
        yield example
        if answered:
            yield _latency(line, body)
    except _Silent as silent:
        yield Finding("connection", ok=False, told=f"broke off: {silent}")
    if model is not None:
        yield _environment(model)


def _version(line: _Line, model: dict[str, Any] | None) -> Finding:
    answer = line.ask("/version")
    if answer.status != 200:
        return Finding("version", ok=False, told=f"/version says {answer.status}: {answer.told()}")
    mlflow = answer.body.decode("utf-8", "replace").strip()
    if not _VERSION.fullmatch(mlflow):
        return Finding("version", ok=False, told=f"/version answers what is no version: {answer.told()}")
    facts: dict[str, Any] = {"mlflow": mlflow}
    label = ((model or {}).get("current") or {}).get("label")
    if label:
        facts["model"] = label
    return Finding("version", ok=True, told=f"{f'{label}, ' if label else ''}MLflow {mlflow}", facts=facts)


def _example(wanted: Wanted, model: dict[str, Any] | None) -> tuple[bytes, str]:
    """(the body to try, what it is: one of `_EXAMPLES`)."""
    if wanted.data is not None:
        return wanted.data, "given"
    signature = (((model or {}).get("current") or {}).get("facts") or {}).get("signature")
    made = made_up_example(signature) if signature else None
    if made is not None:
        return json.dumps(made).encode(), "made"
    return json.dumps(_TEXT_EXAMPLE).encode(), "guessed"


def _predict(line: _Line, body: bytes, whose: str) -> tuple[Finding, bool]:
    answer = line.ask("/invocations", body)
    if answer.status == 200 and answer.json() is None:
        told = f"/invocations says 200 with what is no prediction: {answer.told()}"
        return Finding("predicts", ok=False, told=told, facts={"status": 200}), False
    if answer.status == 200:
        facts = {"answer": answer.json(), "took_s": answer.took_s, "request_id": answer.headers.get("x-request-id")}
        if label := answer.headers.get("headrace-model"):
            facts["model"] = label
        text = " ".join(answer.body.decode("utf-8", "replace").split())
        short = text if len(text) <= 120 else f"{text[:119]}…"
        by = f" by {label}" if label else ""
        return Finding("predicts", ok=True, told=f"{short}{by} ({_EXAMPLES[whose]})", facts=facts), True
    if whose != "given" and 400 <= answer.status < 500 and answer.status not in {404, 405, 408, 429}:
        told = f"not known: the {_EXAMPLES[whose]} was refused ({answer.status}: {answer.told()}); give one with --data"
        return Finding("predicts", ok=None, told=told, facts={"status": answer.status}), False
    told = f"/invocations says {answer.status}: {answer.told()}"
    return Finding("predicts", ok=False, told=told, facts={"status": answer.status}), False


def _latency(line: _Line, body: bytes) -> Finding:
    answers = [line.ask("/invocations", body) for _ in range(LATENCY_REQUESTS)]
    bad = sorted({a.status for a in answers if a.status != 200})
    took = sorted(a.took_s for a in answers)
    p50_s, p99_s = took[len(took) // 2], took[min(len(took) - 1, int(0.99 * len(took)))]
    facts = {"requests": len(took), "p50_s": p50_s, "p99_s": p99_s, "failed": sum(a.status != 200 for a in answers)}
    told = f"{len(took)} requests: p50 {p50_s * 1000:.1f} ms, p99 {p99_s * 1000:.1f} ms"
    if bad:
        told += f"; {facts['failed']} failed with {', '.join(map(str, bad))}"
    return Finding("latency", ok=not bad, told=told, facts=facts)


def _described(url: str, admin: str, label: str | None, wanted: Wanted) -> tuple[dict[str, Any] | None, str]:
    """(the entry of the admin API for the model at `url` which calls itself `label`, what is wrong)."""
    line = _Line(admin, wanted.timeout_s, wanted.credentials)
    try:
        answer = line.ask("/api/models")
    except _Silent as silent:
        return None, f"{admin} does not answer: {silent}"
    finally:
        line.close()
    status = answer.json()
    models = status.get("models") if isinstance(status, dict) else None
    if answer.status != 200 or not isinstance(models, list):
        return None, f"{admin}/api/models says {answer.status}, and lists no models"
    parts = urlsplit(url)
    name = parts.path.rpartition("/models/")[2] if "/models/" in parts.path else None
    for model in models:
        told = (model.get("current") or {}).get("label")
        # A port may be mapped to another one on the way here; what answers says whose it is.
        if (model.get("name") == name) if name else (told == label if label else model.get("port") == parts.port):
            return model, ""
    return None, f"{admin} knows no model at {url}"


def _environment(model: dict[str, Any]) -> Finding:
    """What the admin API says about the environment that the model runs in."""
    current = model.get("current") or {}
    report = current.get("environment") or {}
    python = (current.get("facts") or {}).get("python_version")
    facts = {"python": python, "environment": report}
    if not python or not report:
        return Finding(
            "environment", ok=None, told=f"Python {python}" if python else "nothing is reported", facts=facts
        )
    told = f"Python {python}, {report['policy']}"
    if report["problem"]:
        return Finding("environment", ok=None, told=f"{told}; {report['problem']}", facts=facts)
    wrong = [f for f in report["report"] if f["verdict"] in {"differs", "missing"}]
    if wrong:
        some = [
            f"{f['package']} {f['found'] or 'is missing'} (trained with {f['required']})" for f in wrong[:_MOST_TOLD]
        ]
        more = f" and {len(wrong) - _MOST_TOLD} more" if len(wrong) > _MOST_TOLD else ""
        return Finding("environment", ok=False, told=f"{told}: {', '.join(some)}{more}", facts=facts)
    return Finding("environment", ok=True, told=f"{told}: as the model was trained with", facts=facts)
