"""Who somebody is, by what they have shown."""

from __future__ import annotations

import pytest

from headrace.core.security.access import Access, Judge, names_in
from headrace.core.security.keys import make
from headrace.core.security.roles import NOBODY, Grant
from headrace.core.security.untrusted import Untrusted

KEY, TOKEN = make(bytes(range(56)), Grant(name="team"))
MESH = Grant(name="spiffe://bank/*", roles=("predict",))
EVERYBODY = Grant(name="anonymous", roles=("read",))


def test_what_is_wrong_is_not_made_good_by_what_else_is_shown() -> None:
    judge = Judge(Access(keys=(KEY,), grants=(MESH,), anonymous=EVERYBODY))
    for wrong in (b"Bearer hr_wrong", b"", b"Bearer a.b.c"):
        with pytest.raises(Untrusted):
            judge.judge(wrong, ["spiffe://bank/a"], 0.0)
    assert judge.judge(f"Bearer {TOKEN}".encode(), [], 0.0) == KEY.grant


def test_an_identity_has_what_the_first_pattern_that_fits_grants() -> None:
    judge = Judge(Access(grants=(MESH, Grant(name="*", roles=("admin",)))))
    known, other = judge.judge(None, ["spiffe://bank/a"], 0.0), judge.judge(None, ["somebody"], 0.0)
    assert known == Grant(name="spiffe://bank/a", roles=("predict",))
    assert other == Grant(name="somebody", roles=("admin",))


def test_who_shows_nothing_may_do_what_is_said_and_that_is_nothing() -> None:
    assert Judge(Access(keys=(KEY,))).judge(None, [], 0.0) == NOBODY
    assert Judge(Access(anonymous=EVERYBODY)).judge(None, [], 0.0) == EVERYBODY


@pytest.mark.parametrize(
    ("address", "trusted"),
    [("10.1.2.3", True), ("::ffff:10.1.2.3", True), ("11.1.2.3", False), ("fd00::1", True), ("", False), ("x", False)],
)
def test_a_proxy_is_believed_from_its_addresses_alone(address: str, trusted: bool) -> None:  # noqa: FBT001
    judge = Judge(Access(proxy_header="x-user", proxy_addresses=("10.0.0.0/8", "fd00::/8")))
    assert judge.trusts(address) is trusted


def test_the_names_in_a_certificate_begin_with_what_is_most_exact() -> None:
    certificate = {
        "subject": ((("organizationName", "bank"),), (("commonName", "a"),)),
        "subjectAltName": (("DNS", "a.bank"), ("URI", "spiffe://bank/a"), ("IP Address", "10.0.0.1")),
    }
    assert names_in(certificate) == ["spiffe://bank/a", "a.bank", "a"]
    assert names_in(None) == names_in({}) == []


def test_what_decides_is_never_told_by_accident() -> None:
    assert KEY.sha256 not in repr(Access(keys=(KEY,)))
