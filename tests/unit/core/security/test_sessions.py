"""Sessions end by themselves, are bounded, and what stands in a cookie is kept nowhere."""

from __future__ import annotations

import os

import pytest

from headrace.core.security.roles import Grant
from headrace.core.security.sessions import CHANCE_BYTES, Sessions

ME = Grant(name="me", roles=("operate",))


def begun(sessions: Sessions, now_s: float = 0.0) -> str:
    return sessions.begin(os.urandom(CHANCE_BYTES), ME, None, now_s)


def test_a_session_ends_when_nobody_does_anything_and_when_it_was_long_enough() -> None:
    sessions = Sessions(idle_s=10, longest_s=25)
    idle, busy = begun(sessions), begun(sessions)
    for now_s in (9.0, 18.0, 24.0):
        assert sessions.find(busy, now_s) is not None
    assert sessions.find(idle, 10.0) is None
    assert sessions.find(busy, 25.0) is None
    assert len(sessions) == 0


def test_what_a_page_does_by_itself_keeps_no_session() -> None:
    sessions = Sessions(idle_s=10, longest_s=100)
    cookie = begun(sessions)
    assert sessions.find(cookie, 9.0, used=False) is not None
    assert sessions.find(cookie, 10.0, used=False) is None


def test_who_signs_out_is_out_and_others_stay() -> None:
    sessions = Sessions(idle_s=10, longest_s=25)
    one, other = begun(sessions), begun(sessions)
    sessions.end(one)
    sessions.end("nonsense")
    assert sessions.find(one, 1.0) is None
    assert sessions.find(other, 1.0) is not None


def test_there_are_so_many_and_the_one_that_is_used_least_goes() -> None:
    sessions = Sessions(idle_s=100, longest_s=100, most=3)
    cookies = [begun(sessions, float(at)) for at in range(3)]
    assert sessions.find(cookies[0], 5.0) is not None
    begun(sessions, 6.0)
    assert len(sessions) == 3
    assert [sessions.find(one, 7.0) is not None for one in cookies] == [True, False, True]


def test_a_change_needs_the_token_and_nothing_is_told_by_accident() -> None:
    sessions = Sessions(idle_s=10, longest_s=25)
    cookie = begun(sessions)
    session = sessions.find(cookie, 1.0)
    assert session is not None
    assert session.permits(session.csrf)
    for wrong in (None, "", session.csrf[:-1], cookie, "é"):
        assert not session.permits(wrong)
    assert cookie not in repr(vars(sessions))
    assert session.csrf not in repr(session)
    assert cookie != session.csrf
    with pytest.raises(ValueError):
        sessions.begin(b"too little", ME, None, 0.0)
