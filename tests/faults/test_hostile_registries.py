"""A registry that is slow, endless, false or not who it should be: told, bounded, and over when it is well again."""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import io
import json
import os
import shutil
import ssl
import threading
import time
from collections.abc import Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from headrace.core.errors import ModelNotFound, RegistryError
from headrace.core.identity import Resolved
from headrace.supervisor.processes.agent import RegistryAgent
from headrace.telemetry.logs import make_log
from tests.faults import hostile_registry as hostile
from tests.faults.hostile_registry import HostileRegistry, hostile_registry
from tests.integration.serving import until

T = TypeVar("T")

TIMEOUT_S = 1.0
FETCH_TIMEOUT_S = 12.0
MIB = 1 << 20


class Asking:
    """The registry agent's process and the supervisor's side of it, in an event loop of their own."""

    def __init__(self, registry_uri: str, home: Path, **environ: str) -> None:
        self._told = io.StringIO()
        settings = {"home": str(home), "registry_key": registry_uri, "warm": False, "tracking_uri": registry_uri}
        settings |= {"registry_uri": None, "timeout_s": TIMEOUT_S}
        log = make_log("json", stream=self._told)
        self.agent = RegistryAgent(
            settings, {**os.environ, **environ}, log, TIMEOUT_S, FETCH_TIMEOUT_S, hung_after_s=60.0
        )
        self._turns = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._thread.start()
        self._turns.wait()

    async def _live(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        running = asyncio.create_task(self.agent.run())
        self._turns.set()
        await self._over.wait()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    def begin(self, asked: Coroutine[Any, Any, T]) -> Future[T]:
        """Ask."""
        return asyncio.run_coroutine_threadsafe(asked, self._loop)

    def wait(self, asked: Coroutine[Any, Any, T]) -> T:
        """What a question is answered with."""
        return self.begin(asked).result(120)

    def stand_still(self, for_s: float) -> None:
        """Have the event loop do nothing, as in a process that is stopped."""
        self._loop.call_soon_threadsafe(time.sleep, for_s)

    def resolve(self, name: str = "pair") -> Resolved:
        """What its alias points at."""
        return self.wait(self.agent.resolve(f"models:/{name}@production", patient=True))

    def until(self, version: str) -> None:
        """Wait until this version is the answer: a question that was asked before may still be under way."""

        def answered() -> bool:
            with contextlib.suppress(RegistryError):
                return self.resolve().version == version
            return False

        until(answered, f"version {version}")

    @property
    def events(self) -> list[dict[str, Any]]:
        """What has been logged."""
        return [json.loads(line) for line in self._told.getvalue().splitlines()]

    def close(self) -> None:
        """End both."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory that MLflow takes for a model."""
    directory = tmp_path_factory.mktemp("model")
    (directory / "MLmodel").write_text("flavors: {python_function: {loader_module: tiny, code: code}}\n")
    (directory / "code").mkdir()
    (directory / "code/tiny.py").write_text("def _load_pyfunc(path): ...\n")
    return directory


@pytest.fixture(scope="module")
def registry(model: Path) -> Iterator[HostileRegistry]:
    with hostile_registry(model) as one:
        yield one


@pytest.fixture(scope="module")
def asking(registry: HostileRegistry, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Asking]:
    one = Asking(registry.uri, tmp_path_factory.mktemp("home"))
    yield one
    one.close()


@pytest.fixture(autouse=True)
def well(registry: HostileRegistry) -> Iterator[None]:
    """Each test begins with a registry that is well, and another version."""
    registry.recover()
    registry.version = str(int(registry.version) + 1)
    yield
    registry.recover()


FALSE = {
    "an array": hostile.saying(b"[]"),
    "null": hostile.saying(b"null"),
    "nothing": hostile.saying(b""),
    "a page": hostile.saying(b"<html>hello</html>"),
    "no text": hostile.saying(b"\xff\xfe"),
    "other types": hostile.saying(b'{"registered_model": {"name": 5}, "model_version": "x", "artifact_uri": {}}'),
    "depth": hostile.saying(b'{"registered_model":' * 100_000),
    "an error": hostile.saying(b"no", 500),
    "an error without end": hostile.saying(b"x" * 20_000_000, 400),
    "a redirect to itself": hostile.round_and_round,
    "a redirect to nobody": hostile.elsewhere,
    "another": hostile.saying(
        b'{"registered_model":{"name":"other","aliases":[{"alias":"production","version":"1"}]},'
        b'"model_version":{"name":"other","version":"1","status":"READY"},"artifact_uri":""}'
    ),
    "long texts": hostile.saying(
        b'{"registered_model":{"name":"%(x)s","aliases":[{"alias":"production","version":"1"}]},'
        b'"model_version":{"name":"%(x)s","version":"1","status":"READY"},"artifact_uri":"%(x)s"}'
        % {b"x": b"y" * 5_000_000}
    ),
}


@pytest.mark.parametrize("asked", ["model", "version", "uri"])
@pytest.mark.parametrize("answer", FALSE)
def test_a_false_answer_is_an_error_of_that_question(
    asking: Asking, registry: HostileRegistry, asked: str, answer: str
) -> None:
    asking.until(registry.version)
    registry.version = str(int(registry.version) + 1)
    pid = asking.agent.pid
    registry.behaviours = {asked: FALSE[answer]}
    with pytest.raises((RegistryError, ModelNotFound)) as found:
        asking.resolve()
    assert len(str(found.value)) <= 2_000
    registry.recover()
    asking.until(registry.version)
    assert asking.agent.pid == pid, "the agent went on"


@pytest.mark.parametrize(
    "hangs",
    [
        hostile.never,
        hostile.endless,
        pytest.param(hostile.one_byte_a_second, marks=pytest.mark.slow),
        pytest.param(hostile.headers_without_end, marks=pytest.mark.slow),
    ],
)
def test_questions_that_hang_end_within_a_bound_of_time_and_memory(
    asking: Asking, registry: HostileRegistry, hangs: hostile.Behaviour
) -> None:
    asking.until(registry.version)
    registry.version = str(int(registry.version) + 1)
    registry.behaviours = {"model": hangs}
    # As many as the agent has threads: all of them hang.
    for name in ("pair", "b", "c", "d"):
        with pytest.raises(RegistryError):
            asking.resolve(name)
    registry.recover()  # but for those that hang: they hang on
    most_bytes = 0

    def answered() -> bool:
        nonlocal most_bytes
        with contextlib.suppress(psutil.Error):
            most_bytes = max(most_bytes, psutil.Process(asking.agent.pid).memory_info().rss)
        with contextlib.suppress(RegistryError):
            return asking.resolve().version == registry.version
        return False

    until(answered, "an answer")
    # The agent may have 1 GiB of data (RLIMIT_DATA); what it maps of MLflow's libraries comes on top of that.
    assert most_bytes < 2048 * MIB


def test_a_list_without_end_is_refused(asking: Asking, registry: HostileRegistry) -> None:
    page = {"registered_models": [{"name": "x"}], "next_page_token": "again"}
    registry.behaviours = {"search": hostile.saying(json.dumps(page).encode())}
    with pytest.raises(RegistryError):
        asking.wait(asking.agent.list_models("production", 10))


def test_a_directory_that_mlflow_would_copy_without_end_is_refused(
    asking: Asking, registry: HostileRegistry, tmp_path: Path
) -> None:
    (tmp_path / "MLmodel").symlink_to("/dev/zero")
    registry.behaviours = {"uri": hostile.saying(json.dumps({"artifact_uri": tmp_path.as_uri()}).encode())}
    asking.until(registry.version)
    with pytest.raises(RegistryError, match="MLmodel of the model is no file"):
        asking.wait(asking.agent.fetch(asking.resolve()))


@pytest.mark.parametrize("asked", [pytest.param("list", marks=pytest.mark.slow), "file"])
def test_a_download_that_never_ends_is_given_up(registry: HostileRegistry, tmp_path: Path, asked: str) -> None:
    asking = Asking(registry.uri, tmp_path)  # of its own: what hangs since another test ends its agent, too
    asking.until(registry.version)
    resolved = asking.resolve()
    registry.behaviours = {asked: hostile.one_byte_a_second}
    with pytest.raises(RegistryError, match="within 12 s"):
        asking.wait(asking.agent.fetch(resolved))
    registry.recover()
    asking.until(registry.version)
    stored = asking.wait(asking.agent.fetch(resolved))
    asking.close()
    assert (Path(stored.path) / "MLmodel").is_file()


def test_a_file_that_never_ends_does_not_fill_the_disk(registry: HostileRegistry, tmp_path: Path) -> None:
    asking = Asking(registry.uri, tmp_path)
    asking.until(registry.version)
    asking.wait(asking.agent.fetch(asking.resolve()))
    agent = psutil.Process(asking.agent.pid)
    assert 0 < agent.rlimit(psutil.RLIMIT_FSIZE)[0] < shutil.disk_usage(tmp_path).total - 1024 * MIB
    agent.rlimit(psutil.RLIMIT_FSIZE, (64 * MIB, 64 * MIB))  # as on a disk on which so much is left
    registry.version = str(int(registry.version) + 1)
    asking.until(registry.version)
    resolved = asking.resolve()
    registry.behaviours = {"file": hostile.endless}
    with pytest.raises(RegistryError, match="no room on the disk"):
        asking.wait(asking.agent.fetch(resolved))
    assert sum(file.stat().st_size for file in tmp_path.rglob("*")) < MIB, "what had come is removed"
    registry.recover()
    assert (Path(asking.wait(asking.agent.fetch(resolved)).path) / "MLmodel").is_file()
    asking.close()


@pytest.mark.slow
def test_the_agent_is_not_blamed_for_a_pause_of_the_supervisor(registry: HostileRegistry, tmp_path: Path) -> None:
    asking = Asking(registry.uri, tmp_path)
    asking.until(registry.version)
    pid = asking.agent.pid
    registry.behaviours = {"model": hostile.late}
    registry.asked.clear()
    question = asking.begin(asking.agent.resolve("models:/pair@production"))
    until(lambda: registry.asked["model"], "the question")
    asking.stand_still(15.0)
    with contextlib.suppress(RegistryError):
        question.result(60)
    registry.recover()
    asking.until(registry.version)
    assert asking.agent.pid == pid
    asking.close()


@pytest.mark.parametrize(
    "fault", ["self-signed", *(pytest.param(one, marks=pytest.mark.slow) for one in ("expired", "of another host"))]
)
def test_a_certificate_that_is_not_trusted_is_told_with_what_to_do(fault: str, model: Path, tmp_path: Path) -> None:
    certificate, key = certify(
        tmp_path,
        "elsewhere.example" if fault == "of another host" else "localhost",
        days=-1 if fault == "expired" else 1,
    )
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate, key)
    trusted = {} if fault == "self-signed" else {"REQUESTS_CA_BUNDLE": str(certificate)}
    with hostile_registry(model, tls) as secured:
        asking = Asking(secured.uri, tmp_path / "home", **trusted)
        with pytest.raises(RegistryError, match=r"TLS certificate is not trusted \(.*REQUESTS_CA_BUNDLE"):
            asking.resolve()
        asking.close()


def certify(directory: Path, host: str, days: int) -> tuple[Path, Path]:
    """A certificate that has signed itself, and its key; it ends in so many days."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    now = dt.datetime.now(dt.UTC)
    made = x509.CertificateBuilder(
        name, name, key.public_key(), 1, now - dt.timedelta(days=9), now + dt.timedelta(days=days)
    ).add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
    encoded = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (directory / "key.pem").write_bytes(encoded)
    (directory / "certificate.pem").write_bytes(made.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
    return directory / "certificate.pem", directory / "key.pem"
