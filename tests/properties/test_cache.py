"""The cache against a model of it that is too simple to be wrong."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.serving.caching import ENTRY_BYTES, Cache

steps = st.lists(
    st.tuples(st.sampled_from("pgt"), st.integers(0, 6), st.integers(0, 500), st.floats(0, 3)), max_size=60
)


@given(steps=steps, max_bytes=st.integers(0, 4 * ENTRY_BYTES), ttl_s=st.none() | st.floats(0.5, 5))
def test_bytes_are_exact_and_the_newest_stay(
    steps: list[tuple[str, int, int, float]], max_bytes: int, ttl_s: float | None
) -> None:
    cache: Cache[int, object] = Cache(max_bytes, ttl_s)
    model: dict[int, tuple[object, int, float]] = {}  # in order of use
    now_s = 0.0
    for kind, key, size, wait_s in steps:
        if kind == "t":
            now_s += wait_s
        elif kind == "p":
            value = object()
            if cache.put(key, value, size, now_s):
                model.pop(key, None)
                model[key] = (value, size + ENTRY_BYTES, now_s + (ttl_s if ttl_s is not None else 1e9))
                while sum(entry[1] for entry in model.values()) > max_bytes:
                    del model[next(iter(model))]
            else:
                assert size + ENTRY_BYTES > max_bytes
        else:
            entry = model.get(key)
            expected = entry[0] if entry is not None and entry[2] > now_s else None
            assert cache.get(key, now_s) is expected
            if entry is not None:
                del model[key]
                if expected is not None:
                    model[key] = entry
        assert cache.size_bytes == sum(entry[1] for entry in model.values()) <= max_bytes
        assert len(cache) == len(model)
