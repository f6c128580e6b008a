"""TLS on the data ports, against a real gateway process: what is spoken, what is not, and what clients may do to it."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator

import pytest

from headrace.config.security import Tls
from headrace.core.protocol import messages
from headrace.security.certificates import check, read
from tests.authority import Authority, Pair, common_name
from tests.gateway_rig.client import RawClient, get, post
from tests.gateway_rig.rig import GatewayRig, wait_until

OPENSSL = shutil.which("openssl") or "openssl"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def shown(pair: Pair, **settings: object) -> messages.Certificate:
    section = Tls(certificate=pair.certificate, key=pair.key, **settings)  # type: ignore[arg-type]
    return check(read(section, "tls"), section, "tls").certificate


@pytest.fixture(scope="module")
def rig(authority: Authority) -> Iterator[GatewayRig]:
    certificate = shown(authority.issue("first"), handshake_timeout_s=1.0, max_handshakes=4)
    with GatewayRig(("topic", None), certificate=certificate) as rig:
        rig.serve(rig.worker("w1"))
        yield rig


@pytest.fixture
def trusting(authority: Authority) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=authority.file)


def s_client(rig: GatewayRig, authority: Authority, *arguments: str) -> subprocess.CompletedProcess[str]:
    host, port = rig.address()
    return subprocess.run(
        [OPENSSL, "s_client", "-connect", f"{host}:{port}", "-CAfile", str(authority.file), *arguments],
        input="", capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def name_of(client: RawClient) -> str:
    assert isinstance(client.socket, ssl.SSLSocket)
    return common_name(client.socket)


def test_requests_of_every_form_are_answered_as_without(rig: GatewayRig, trusting: ssl.SSLContext) -> None:
    with RawClient(rig.address(), tls=trusting) as client:
        assert client.ask(post(b'["a"]')).body == b'{"predictions": [["a"]]}'
        large = b'"%b"' % (b"x" * 3_000_000)
        assert client.ask(post(large)).body == b'{"predictions": [%b]}' % large
        client.send(b"".join(post(b"%d" % i) for i in range(100)))
        assert [client.reply().body for _ in range(100)] == [b'{"predictions": [%d]}' % i for i in range(100)]
        assert client.ask(get("/ping/")).headers["location"] == "https://test/ping"


def test_a_client_that_ends_its_side_early_breaks_nothing(rig: GatewayRig, trusting: ssl.SSLContext) -> None:
    with RawClient(rig.address(), tls=trusting) as client:
        client.send(post(b"1"))
        client.socket.shutdown(socket.SHUT_WR)
        client.rest()  # with or without an answer: TLS cannot be closed by halves here, and it ends
    with RawClient(rig.address(), tls=trusting) as client:
        assert client.ask(post(b"2")).status == 200


@pytest.mark.needs("openssl")
@pytest.mark.parametrize(
    ("arguments", "spoken"),
    [
        (("-tls1_3",), "TLSv1.3"),
        (("-tls1_2",), "TLSv1.2"),
        (("-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"), None),
        (("-tls1", "-cipher", "DEFAULT@SECLEVEL=0"), None),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-GCM-SHA384"), "TLSv1.2"),
        (("-tls1_2", "-cipher", "ECDHE-ECDSA-AES256-SHA384"), None),  # not authenticated as it is encrypted (CBC)
        (("-tls1_2", "-cipher", "AES256-GCM-SHA384"), None),  # no forward secrecy
        (("-tls1_2", "-cipher", "DHE-RSA-AES256-GCM-SHA384"), None),
        (("-tls1_2", "-cipher", "aNULL:eNULL@SECLEVEL=0"), None),
    ],
)
def test_only_what_is_good_today_is_spoken(
    rig: GatewayRig, authority: Authority, arguments: tuple[str, ...], spoken: str | None
) -> None:
    done = s_client(rig, authority, "-brief", "-verify_return_error", "-verify_hostname", "localhost", *arguments)
    if spoken is None:
        assert "CONNECTION ESTABLISHED" not in done.stderr, done.stderr
    else:
        assert f"Protocol version: {spoken}" in done.stderr, done.stderr
        assert "Verification: OK" in done.stderr


@pytest.mark.needs("openssl")
def test_http_1_1_is_agreed_on_and_renegotiation_is_not(rig: GatewayRig, authority: Authority) -> None:
    assert "ALPN protocol: http/1.1" in s_client(rig, authority, "-alpn", "h2,http/1.1").stdout
    done = s_client(rig, authority, "-tls1_2")
    assert "Compression: NONE" in done.stdout
    assert "Secure Renegotiation IS supported" in done.stdout  # the signal of RFC 5746, without which clients hang up


def test_what_is_no_handshake_is_cut_off_and_counted(rig: GatewayRig, trusting: ssl.SSLContext) -> None:
    before = rig.stats()["headrace_tls_handshakes_total"]
    with rig.client() as client:
        client.send(get("/ping"))
        assert b"HTTP/1.1" not in client.rest()
    wait_until(lambda: rig.stats()["headrace_tls_handshakes_total"] > before, "the handshake is counted")
    with pytest.raises(ssl.SSLCertVerificationError):
        RawClient(rig.address(), tls=ssl.create_default_context())
    with RawClient(rig.address(), tls=trusting) as client:
        assert client.ask(get("/ping")).status == 200


def test_clients_that_never_shake_hands_keep_nobody_out(rig: GatewayRig, trusting: ssl.SSLContext) -> None:
    silent = [rig.client() for _ in range(20)]  # max_handshakes is 4: those beyond it are cut off at once
    try:
        assert all(client.closed() for client in silent)  # and the others after handshake_timeout_s
        with RawClient(rig.address(), tls=trusting) as client:
            assert client.ask(post(b"1")).status == 200
    finally:
        for client in silent:
            client.socket.close()


def test_a_new_certificate_meets_new_clients_and_drops_nobody(
    rig: GatewayRig, authority: Authority, trusting: ssl.SSLContext
) -> None:
    failures: list[str] = []
    names: set[str] = set()
    done = threading.Event()

    def keep_asking() -> None:
        with RawClient(rig.address(), tls=trusting) as client:
            while not done.is_set():
                if client.ask(post(b"1")).status != 200:
                    failures.append("an answer")

    def keep_connecting() -> None:
        while not done.is_set():
            with RawClient(rig.address(), tls=trusting) as client:
                names.add(name_of(client))
                if client.ask(post(b"1")).status != 200:
                    failures.append("an answer")

    threads = [threading.Thread(target=one) for one in (keep_asking, keep_connecting)]
    for thread in threads:
        thread.start()
    for number in range(20):
        rig.send(shown(authority.issue(f"rotated{number}"), max_handshakes=4, handshake_timeout_s=1.0))
        wait_until(lambda number=number: f"rotated{number}" in names, "it is shown")  # type: ignore[misc]
    done.set()
    for thread in threads:
        thread.join()
    assert not failures
    assert {f"rotated{number}" for number in range(20)} <= names


def test_authorities_of_clients_can_be_taken_back(
    rig: GatewayRig, authority: Authority, tmp_path_factory: pytest.TempPathFactory
) -> None:
    other = Authority(tmp_path_factory.mktemp("other"), "other")
    pair, ours, theirs = authority.issue("server"), authority.issue("ours"), other.issue("theirs")

    def status(mine: Pair | None) -> int:
        context = ssl.create_default_context(cafile=authority.file)
        if mine is not None:
            context.load_cert_chain(*mine)
        try:
            with RawClient(rig.address(), tls=context) as client:
                return client.ask(get("/ping")).status
        except (ssl.SSLError, ConnectionError, AssertionError):
            return 0

    both = authority.file.parent / "both.pem"
    both.write_bytes(authority.file.read_bytes() + other.file.read_bytes())
    rig.send(shown(pair, client_ca=both))
    rig.serve(*rig.workers)  # the channel is in order: what was said before is done
    assert (status(ours), status(theirs), status(None)) == (200, 200, 0)
    rig.send(shown(pair, client_ca=authority.file))
    rig.serve(*rig.workers)
    assert (status(ours), status(theirs), status(None)) == (200, 0, 0)
    rig.send(shown(pair, client_ca=authority.file, client_certificate="optional"))
    rig.serve(*rig.workers)
    assert (status(ours), status(theirs), status(None)) == (200, 0, 200)
