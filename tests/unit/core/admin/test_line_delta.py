"""What is sent of a page that has changed puts the page together again, and is as small as the change."""

import json

from hypothesis import given
from hypothesis import strategies as st

from headrace.core.admin.line_delta import apply, delta

lines = st.lists(st.sampled_from(["", "a", "b", "c", "<td>1</td>", "<td>2</td>"]), max_size=30)


@given(lines, lines)
def test_the_parts_put_the_new_text_together(old: list[str], new: list[str]) -> None:
    parts = json.loads(json.dumps(delta(old, new)))
    assert apply(old, [part if isinstance(part, str) else (part[0], part[1]) for part in parts]) == new


def test_what_has_moved_is_not_sent_again() -> None:
    rows = [f"row {number}" for number in range(300)]
    assert delta(rows, [*rows[200:], *rows[:200]]) == [(200, 100), (0, 200)]
    assert delta(rows, [*rows[:7], "row 7, changed", "", *rows[8:]]) == [(0, 7), "row 7, changed\n", (8, 292)]
    assert delta(rows, rows) == [(0, 300)]
    assert delta([], rows) == ["\n".join(rows)]


def test_lines_that_are_there_many_times_are_taken_in_one_part() -> None:
    page = ["<tr>", "", "1", "</tr>", "<tr>", "", "2", "</tr>"]
    assert delta(page, page) == [(0, 8)]
    assert delta(page, page[4:]) == [(0, 2), (6, 2)]
