"""API keys: what is made is found, nothing else is, and the file says nothing of them."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.security.keys import BadKeys, KeyTable, make, parse, token_of, write
from headrace.core.security.roles import Grant

CHANCE = st.binary(min_size=56, max_size=56)
TEAM = Grant(name="team", models=("topic-*",))
KEY, _ = make(bytes(56), TEAM)


@given(CHANCE, CHANCE)
def test_a_key_is_found_after_a_round_trip_and_no_other_is(chance: bytes, other: bytes) -> None:
    key, token = make(chance, TEAM, expires_s=1.5)
    table = KeyTable(parse(write([key])))
    assert table.find(token.encode()) == key
    _, stranger = make(other, TEAM)
    assert (table.find(stranger.encode()) is None) == (stranger != token)


@given(CHANCE, st.integers(0, 83), st.sampled_from("0123456789abcdefghr_ \n\x00"))
def test_one_character_that_differs_is_another_key(chance: bytes, at: int, sign: str) -> None:
    key, token = make(chance, TEAM)
    changed = token[:at] + sign + token[at + 1 :]
    assert (KeyTable([key]).find(changed.encode()) == key) == (changed == token)


@given(st.binary(max_size=300))
def test_whatever_is_sent_is_no_key_and_no_error(token: bytes) -> None:
    key, _ = make(bytes(range(56)), TEAM)
    assert KeyTable([key]).find(token) is None
    token_of(token)


@given(CHANCE)
def test_the_file_holds_neither_the_key_nor_its_bare_digest(chance: bytes) -> None:
    key, token = make(chance, TEAM)
    secret = token.rpartition("_")[2]
    assert secret not in write([key])
    assert token not in repr(key)


def test_a_key_comes_as_bearer_or_as_a_browsers_password() -> None:
    assert token_of(b"Bearer hr_1") == b"hr_1"
    assert token_of(b"bearer  hr_1 ") == b"hr_1"
    assert token_of(b"Basic " + base64.b64encode(b"me:hr_1")) == b"hr_1"
    assert [token_of(one) for one in (b"", b"Bearer", b"Bearer ", b"Digest x", b"Basic %%%", b"Basic bWU=")] == [
        None
    ] * 6


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("nonsense", "line 2: not a line of JSON"),
        ('{"id": "1"}', "line 2: "),
        ('{"id": "1", "salt": "", "sha256": "", "grant": {"name": "a"}}', "line 2: id, salt or sha256"),
        (write([KEY]).replace('"predict"', '"root"'), "'root'"),
    ],
)
def test_a_wrong_line_is_named_and_not_repeated(line: str, told: str) -> None:
    key, _ = make(bytes(56), TEAM)
    with pytest.raises(BadKeys) as refusal:
        parse(f"{write([key])}{line}\n")
    assert told in str(refusal.value)
    assert line not in str(refusal.value)


def test_comments_and_empty_lines_are_left_out() -> None:
    key, _ = make(bytes(56), TEAM)
    assert parse(f"# of team\n\n{write([key])}") == [key]
