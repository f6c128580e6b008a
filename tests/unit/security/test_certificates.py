"""Certificates from files: what is good is taken, and of what is not is said which file, and why."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from headrace.config.security import Tls
from headrace.core.errors import ConfigError
from headrace.security.certificates import Shown, check, read
from headrace.security.contexts import ServerContext, TooManyHandshakes, server_context
from tests.authority import Authority, Pair, common_name


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


def shown(section: Tls) -> Shown:
    return check(read(section, "tls"), section, "tls")


def refused(section: Tls) -> str:
    with pytest.raises(ConfigError) as refusal:
        shown(section)
    return str(refusal.value)


def shake(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "localhost") -> ssl.SSLObject:
    """A handshake without a network; returns the client's end. Raises what either side raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=name),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    for _ in range(10):
        for end in list(waiting):
            try:
                end.do_handshake()
                waiting.remove(end)
            except ssl.SSLWantReadError:
                continue
    assert not waiting
    return ends[0]


def trusting(authority: Authority, pair: Pair | None = None) -> ssl.SSLContext:
    made = ssl.create_default_context(cafile=authority.file)
    if pair is not None:
        made.load_cert_chain(*pair)
    return made


def test_a_good_pair_says_its_names_and_its_end(authority: Authority) -> None:
    pair = authority.issue("good", days=10.0)
    good = shown(Tls(certificate=pair.certificate, key=pair.key))
    assert good.names == ("localhost", "127.0.0.1")
    assert 0 < good.ends_s - good.begins_s < 12 * 86_400
    assert shake(server_context(good.certificate), trusting(authority)).version() == "TLSv1.3"


def test_key_and_certificate_may_stand_in_one_file(authority: Authority, tmp_path: Path) -> None:
    pair = authority.issue("one")
    both = tmp_path / "both.pem"
    for texts in (pair.texts, pair.texts[::-1]):
        both.write_text("\n".join(texts))
        assert shown(Tls(certificate=both)).names == ("localhost", "127.0.0.1")


def test_rsa_is_taken_too(authority: Authority) -> None:
    pair = authority.issue("rsa", key=rsa.generate_private_key(65537, 2048))
    found = shown(Tls(certificate=pair.certificate, key=pair.key))
    assert shake(server_context(found.certificate), trusting(authority)).version() == "TLSv1.3"


def test_each_wrong_file_is_named_with_what_is_wrong(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.issue("named"), authority.issue("other")
    closed = authority.issue("closed", passphrase=b"secret")
    damaged, missing = tmp_path / "damaged.pem", tmp_path / "missing.pem"
    damaged.write_text(good.certificate.read_text()[:300])
    told = refused(Tls(certificate=missing, key=good.key))
    assert told == f"tls.certificate: {missing} cannot be read: No such file or directory"
    assert refused(Tls(certificate=damaged, key=good.key)).startswith(
        f"tls.certificate: {damaged} holds no certificate"
    )
    assert refused(Tls(certificate=good.key, key=good.key)).startswith("tls.certificate: ")
    assert refused(Tls(certificate=good.certificate)).endswith("or a damaged one")
    assert refused(Tls(certificate=good.certificate, key=good.certificate)).startswith("tls.key: ")
    assert refused(Tls(certificate=good.certificate, key=other.key)).endswith("is not that of the certificate")
    assert "passphrase" in refused(Tls(certificate=closed.certificate, key=closed.key))
    assert refused(Tls(certificate=good.certificate, key=good.key, client_ca=good.key)).startswith("tls.client_ca: ")


def test_a_client_without_a_certificate_comes_only_where_none_is_required(authority: Authority, tmp_path: Path) -> None:
    pair, mine = authority.issue("server"), authority.issue("client")
    stranger = Authority(tmp_path, "stranger").issue("client")
    section = Tls(certificate=pair.certificate, key=pair.key, client_ca=authority.file)
    required = server_context(shown(section).certificate)
    assert shake(required, trusting(authority, mine)).version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        shake(required, trusting(authority))
    with pytest.raises(ssl.SSLError, match="CERTIFICATE_VERIFY_FAILED"):
        shake(required, trusting(authority, stranger))
    optional = Tls(certificate=pair.certificate, key=pair.key, client_ca=authority.file, client_certificate="optional")
    assert shake(server_context(shown(optional).certificate), trusting(authority)).version() == "TLSv1.3"


def test_who_connects_later_meets_the_newer_certificate(authority: Authority) -> None:
    server, old, new = ServerContext(), authority.issue("old"), authority.issue("new")
    server.show(shown(Tls(certificate=old.certificate, key=old.key)).certificate)
    first = shake(server, trusting(authority))
    server.show(shown(Tls(certificate=new.certificate, key=new.key)).certificate)
    second = shake(server, trusting(authority))
    names = [common_name(end) for end in (first, second)]
    assert names == ["old", "new"]
    assert server.ended == {"ok": 2, "failed": 0, "refused": 0}


def test_a_limit_bounds_the_handshakes_that_are_under_way_and_no_others(authority: Authority) -> None:
    server, pair = ServerContext(), authority.issue("limited")
    server.show(shown(Tls(certificate=pair.certificate, key=pair.key, max_handshakes=2)).certificate)
    ends = [shake(server, trusting(authority)) for _ in range(3)]  # done, and so not counted
    waiting = [server.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True) for _ in range(2)]
    with pytest.raises(TooManyHandshakes):
        server.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    del waiting[0]  # a client that has gone
    waiting.append(server.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True))
    assert len(ends) + server.ended["refused"] == 4
