"""What clients have outstanding, over any order of requests and their ends."""

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.serving.admission import Charge, ClientShares

STEPS = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 9), st.booleans()), max_size=60)


@given(STEPS, st.integers(1, 12))
def test_shares_are_exact_and_nothing_stays_behind(steps: list[tuple[bytes, int, bool]], limit: int) -> None:
    shares = ClientShares()
    held: dict[bytes, list[tuple[int, Charge]]] = {b"a": [], b"b": [], b"c": []}
    for client, rows, give_back in steps:
        mine = held[client]
        if give_back and mine:
            _, charge = mine.pop(0)
            charge.release()
            charge.release()
        else:
            outstanding = sum(rows for rows, _ in mine)
            taken = shares.take(client, rows, limit)
            assert (taken is None) == (outstanding > 0 and outstanding + rows > limit)
            if taken is not None:
                mine.append((rows, taken))
        assert shares.rows == {name: sum(r for r, _ in one) for name, one in held.items() if one}
    for one in held.values():
        for _, charge in one:
            charge.release()
    assert not shares.rows
