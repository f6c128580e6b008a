"""Which connections are turned away, and why."""

from __future__ import annotations

from headrace.core.serving.crowd import EXPLAINED, Crowd, Reason


def crowd(most: int = 10, of_a_client: int | None = None, descriptors: int = 100) -> Crowd:
    return Crowd(most, of_a_client, descriptors=descriptors, reserved=20)


def test_those_that_are_too_many_are_turned_away_until_others_leave() -> None:
    some = crowd(most=2)
    assert [some.enter(b"", 5) for _ in range(3)] == [None, None, "connections"]
    some.leave(b"")
    assert some.enter(b"", 5) == "connections"  # the one that was turned away is still there
    some.leave(b"")
    some.leave(b"")
    assert some.enter(b"", 5) is None
    assert some.turned_away["connections"] == 2


def test_each_client_has_its_own_bound() -> None:
    some = crowd(of_a_client=2)
    assert [some.enter(client, 5) for client in (b"a", b"a", b"b", b"a", b"b")] == [None, None, None, "client", None]
    for client in (b"a", b"a", b"a"):
        some.leave(client)
    assert some.enter(b"a", 5) is None
    assert some.tells_clients_apart


def test_descriptors_are_kept_free_whoever_uses_the_others() -> None:
    some = crowd()
    assert some.enter(b"", 79) is None
    assert some.enter(b"", 80) == "descriptors"
    assert some.turned_away["descriptors"] == 1
    assert some.may_linger(89)
    assert not some.may_linger(90)


def test_it_is_told_once_a_minute_for_each_reason() -> None:
    some = crowd()
    told: list[tuple[Reason, float]] = [("client", 1.0), ("client", 2.0), ("connections", 2.0), ("client", 61.0)]
    assert [some.worth_telling(reason, now_s) for reason, now_s in told] == [True, False, True, True]


def test_every_reason_has_its_words() -> None:
    assert all("try again" in words for words in EXPLAINED.values())
