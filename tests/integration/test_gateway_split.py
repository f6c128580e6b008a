"""The gateway divides a model's traffic, copies to shadows, and obeys pins: real processes, stub workers."""

from __future__ import annotations

from collections import Counter

import pytest

from headrace.core.protocol import messages
from tests.gateway_rig.client import RawClient, post
from tests.gateway_rig.rig import GatewayRig, StubWorker, wait_until

WATCHED = messages.Limits(watched_headers=("headrace-version", "x-user"))


def split_rig(rig: GatewayRig, split: messages.Split, **route: object) -> tuple[StubWorker, StubWorker]:
    main, other = rig.worker("main"), rig.worker("other")
    apply(rig, split, main, other, **route)
    return main, other


def apply(rig: GatewayRig, split: messages.Split | None, main: StubWorker, other: StubWorker, **route: object) -> None:
    rig.table(
        [messages.Route(model="topic", pool="1", split=split, **route)],  # type: ignore[arg-type]
        [rig.pool("1", main), rig.pool("2", other)],
    )


def labels(client: RawClient, requests: list[bytes]) -> list[str]:
    answers = [client.ask(request) for request in requests]
    assert {a.status for a in answers} == {200}
    return [a.headers["headrace-model"] for a in answers]


def shadow_counts(rig: GatewayRig) -> Counter[str]:
    rig.send(messages.AskStats(9))
    counts: Counter[str] = Counter()
    for name, pairs, value in rig.wait_for(messages.Stats, lambda s: s.token == 9).values:
        if name == "headrace_shadow_total":
            assert dict(pairs)["version"] == "topic/2"
            counts[dict(pairs)["result"]] += int(value)
    return counts


SHARES = (messages.Share("2", 10), messages.Share("1", 90))


def test_requests_without_a_key_are_divided_exactly() -> None:
    with GatewayRig(limits=WATCHED) as rig, rig.client() as client:
        main, other = split_rig(rig, messages.Split(shares=SHARES))
        found = Counter(labels(client, [post(b'"%d"' % n) for n in range(300)]))
        assert found == {"topic/1": 270, "topic/2": 30}
        assert (len(main.bodies()), len(other.bodies())) == (270, 30)


def test_equal_keys_meet_the_same_version() -> None:
    with GatewayRig(limits=WATCHED) as rig, rig.client() as client:
        split = messages.Split(shares=(messages.Share("2", 50), messages.Share("1", 50)), sticky_header="x-user")
        workers = split_rig(rig, split)
        users = [f"X-User: u{n}" for n in range(40)]
        first = labels(client, [post(b"1", user) for user in users])
        assert set(first) == {"topic/1", "topic/2"}
        assert labels(client, [post(b"2", user) for user in users]) == first
        # More for the other: who was with it stays.
        apply(
            rig,
            messages.Split(shares=(messages.Share("2", 80), messages.Share("1", 20)), sticky_header="x-user"),
            *workers,
        )
        later = labels(client, [post(b"3", user) for user in users])
        assert all(after == "topic/2" for before, after in zip(first, later, strict=True) if before == "topic/2")


def test_a_request_id_is_a_key_too() -> None:
    with GatewayRig() as rig, rig.client() as client:
        split_rig(rig, messages.Split(shares=(messages.Share("2", 50), messages.Share("1", 50))))
        ids = [f"X-Request-Id: r{n}" for n in range(30)]
        first = labels(client, [post(b"1", one) for one in ids])
        assert labels(client, [post(b"2", one) for one in ids]) == first


def test_a_share_without_a_running_version_falls_to_the_main_one() -> None:
    with GatewayRig() as rig, rig.client() as client:
        main = rig.worker("main")
        shares = (messages.Share("2", 50), messages.Share("3", 25), messages.Share("1", 25))
        rig.table(
            [messages.Route(model="topic", pool="1", split=messages.Split(shares=shares))],
            [rig.pool("1", main), rig.pool("2")],  # 2 has no worker yet, 3 is not there at all
        )
        assert set(labels(client, [post(b"1") for _ in range(20)])) == {"topic/1"}


def test_a_pinned_version_answers_and_an_unknown_one_is_404() -> None:
    split = messages.Split(shares=SHARES, pin_header="headrace-version", pins={"7": "1", "8": "2", "challenger": "2"})
    with GatewayRig(limits=WATCHED) as rig, rig.client() as client:
        workers = split_rig(rig, split)
        for pin, label in (("8", "topic/2"), ("challenger", "topic/2"), ("7", "topic/1")):
            assert set(labels(client, [post(b"1", f"Headrace-Version: {pin}")] * 5)) == {label}
        answer = client.ask(post(b"1", "Headrace-Version: 9"))
        assert answer.status == 404
        assert answer.json() == {
            "error_code": "NOT_FOUND",
            "message": "No version '9' of model 'topic' serves; there are: '7', '8', 'challenger'.",
        }
        # Where pins are not configured, the header means nothing.
        apply(rig, messages.Split(shares=SHARES), *workers)
        assert client.ask(post(b"1", "Headrace-Version: 9")).status == 200


def test_a_shadow_is_sent_a_copy_and_its_answer_is_compared() -> None:
    with GatewayRig() as rig, rig.client() as client:
        main, other = split_rig(rig, messages.Split(shadow=messages.Shadow("2", 0.5)))
        assert set(labels(client, [post(b'"%d"' % n) for n in range(40)])) == {"topic/1"}
        wait_until(lambda: sum(shadow_counts(rig).values()) == 20, "all copies were compared")
        assert shadow_counts(rig).keys() <= {"equal", "different"}
        assert len(main.bodies()) == 40
        assert len(other.bodies()) == 20
        rig.send(messages.AskStats(11))
        routes: Counter[tuple[str, str]] = Counter()
        timed: Counter[tuple[str, str]] = Counter()
        for name, pairs, value in rig.wait_for(messages.Stats, lambda s: s.token == 11).values:
            if name == "headrace_requests_total":
                routes[dict(pairs).get("version", ""), dict(pairs)["route"]] += int(value)
            if name in {"headrace_request_seconds_count", "headrace_queue_wait_seconds_count"}:
                timed[dict(pairs)["version"], name] += int(value)
        assert +routes == {("topic/1", "invocations"): 40, ("topic/2", "shadow"): 20}
        assert {version for version, _ in +timed} == {"topic/1"}, "nobody waits for a copy"
        for _ in range(2):
            assert client.ask(post(b"!fail")).status == 400
        wait_until(lambda: sum(shadow_counts(rig).values()) == 21, "the copy of one was compared")
        assert rig.stats()["headrace_model_errors_total"] == 2, "a shadow's failures are nobody's"


def test_a_copy_meets_no_cache_and_joins_no_flight() -> None:
    with GatewayRig() as rig, rig.client() as client:
        main, other = split_rig(rig, messages.Split(shadow=messages.Shadow("2", 1.0)), cache=messages.CacheOptions())
        kept = [client.ask(post(b"same")).headers["headrace-cache"] for _ in range(5)]
        assert kept == ["miss", "hit", "hit", "hit", "hit"]
        wait_until(lambda: sum(shadow_counts(rig).values()) == 1, "the copy was compared")
        assert (main.bodies(), other.bodies()) == (["same"], ["same"])
        assert rig.stats()["headrace_cache_requests_total"] == 5


@pytest.mark.parametrize("fate", ["hangs", "dies"])
def test_a_shadow_in_trouble_hurts_nobody(fate: str) -> None:
    with GatewayRig() as rig, rig.client() as client:
        main, other = rig.worker("main"), rig.worker("other", *(["--fixed-ms", "60000"] if fate == "hangs" else []))
        apply(rig, messages.Split(shadow=messages.Shadow("2", 1.0)), main, other)
        labels(client, [post(b"1")])
        if fate == "dies":
            other.kill()
        assert set(labels(client, [post(b"2") for _ in range(100)])) == {"topic/1"}
        if fate == "hangs":
            wait_until(lambda: shadow_counts(rig)["dropped"] >= 60, "what is too much was dropped")
        # The shadow goes with copies still waiting: they are forgotten, nobody else is asked.
        rig.table([messages.Route(model="topic", pool="1")], [rig.pool("1", main)])
        assert set(labels(client, [post(b"3") for _ in range(10)])) == {"topic/1"}
        assert Counter(main.bodies()) == {"1": 1, "2": 100, "3": 10}
