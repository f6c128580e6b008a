"""The cache's bounds."""

from __future__ import annotations

from headrace.core.serving.caching import ENTRY_BYTES, Cache


def test_the_least_recently_used_goes_first() -> None:
    cache: Cache[str, str] = Cache(3 * (ENTRY_BYTES + 10), None)
    for key in "abc":
        assert cache.put(key, key.upper(), 10, 0.0)
    assert cache.get("a", 0.0) == "A"
    cache.put("d", "D", 10, 0.0)
    assert [cache.get(key, 0.0) for key in "abcd"] == ["A", None, "C", "D"]
    assert cache.size_bytes == 3 * (ENTRY_BYTES + 10)


def test_entries_die_of_age() -> None:
    cache: Cache[str, str] = Cache(10_000, 5.0)
    cache.put("a", "A", 1, 10.0)
    assert cache.get("a", 14.9) == "A"
    assert cache.get("a", 15.0) is None
    assert (len(cache), cache.size_bytes) == (0, 0)


def test_what_can_never_fit_displaces_nothing() -> None:
    cache: Cache[str, str] = Cache(1000, None)
    cache.put("a", "A", 100, 0.0)
    assert not cache.put("b", "B", 1001 - ENTRY_BYTES, 0.0)
    assert cache.get("a", 0.0) == "A"


def test_replacing_and_shrinking_and_clearing() -> None:
    cache: Cache[str, str] = Cache(10_000, None)
    cache.put("a", "A", 100, 0.0)
    cache.put("a", "B", 50, 0.0)
    assert (cache.get("a", 0.0), cache.size_bytes) == ("B", 50 + ENTRY_BYTES)
    cache.put("b", "B", 50, 0.0)
    cache.resize(60 + ENTRY_BYTES, None)
    assert [cache.get(key, 0.0) for key in "ab"] == [None, "B"]
    cache.clear()
    assert (len(cache), cache.size_bytes) == (0, 0)
