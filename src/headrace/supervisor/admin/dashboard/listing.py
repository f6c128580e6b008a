"""Which models a page lists: searched, filtered, sorted and grouped as its address asks.

Pure. The address is the only place where that is kept, so that it can be shared, and comes back with the page.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

MOST_SHOWN = 60
"""Rows of a page, unless all are asked for."""
ATTENTION = "attention"
"""The filter for all models that are not well."""
GROUPS = {"": "no groups", "state": "state", "name": "name prefix"}
COLUMNS = {
    "name": "Model",
    "state": "State",
    "version": "Version",
    "replicas": "Replicas",
    "rate": "Requests/s",
    "p50": "p50",
    "p99": "p99",
    "errors": "Errors",
    "cache": "Cache hits",
    "queue": "Queue",
    "memory": "Memory",
}
_SMALLEST_FIRST = frozenset({"name", "state", "version"})
_MOST_SEARCH = 100
_MOST_CLOSED = 50
_SEVERITY = {"bad": 0, "busy": 1, "good": 2}
_FIRST_PART = re.compile(r"[-._/ :]")


@dataclass(frozen=True)
class Condition:
    """How a model is, in a word; `kind` chooses the mark and the colour: good, busy or bad."""

    word: str
    kind: str


@dataclass(frozen=True)
class Entry:
    """One model as it is listed. `numbers` are what it can be sorted by, by column; None: nothing is known."""

    name: str
    condition: Condition
    version: str
    numbers: Mapping[str, float | None]
    model: Any = None

    @property
    def first_part(self) -> str:
        """The name up to its first hyphen, dot, slash, colon, underscore or space."""
        return _FIRST_PART.split(self.name, maxsplit=1)[0] or self.name


@dataclass(frozen=True)
class View:
    """What an address asks for. `sort` is a column, largest first after a hyphen; `closed` are groups by name."""

    search: str = ""
    state: str = ""
    sort: str = "state"
    group: str = ""
    closed: frozenset[str] = frozenset()
    whole: bool = False

    @classmethod
    def asked(cls, query: Mapping[str, str], closed: Sequence[str] = ()) -> View:
        """Read an address; what is not known is left out."""
        sort, group = query.get("sort", ""), query.get("group", "")
        return cls(
            search=query.get("q", "").strip()[:_MOST_SEARCH],
            state=query.get("state", "")[:_MOST_SEARCH],
            sort=sort if sort.removeprefix("-") in COLUMNS else cls.sort,
            group=group if group in GROUPS else "",
            closed=frozenset(closed[:_MOST_CLOSED]),
            whole=query.get("show") == "all",
        )

    def link(self, **changes: Any) -> str:
        """The address of this view with changes, as a link from the page."""
        to = replace(self, **changes)
        asked = [("q", to.search), ("state", to.state), ("sort", to.sort if to.sort != View.sort else "")]
        asked += [
            ("group", to.group),
            ("show", "all" if to.whole else ""),
            *(("closed", one) for one in sorted(to.closed)),
        ]
        return "/?" + urlencode([(key, value) for key, value in asked if value])

    def sorted_by(self, column: str) -> str:
        """What `sort` becomes when a column's head is chosen: first its usual order, then the other."""
        usual = column if column in _SMALLEST_FIRST else f"-{column}"
        return (column if usual.startswith("-") else f"-{column}") if self.sort == usual else usual

    def order_of(self, column: str) -> str:
        """What `aria-sort` says of a column."""
        return {column: "ascending", f"-{column}": "descending"}.get(self.sort, "none")

    def toggled(self, group: str) -> frozenset[str]:
        """`closed` when a group's head is chosen."""
        return self.closed ^ {group}


@dataclass
class Group:
    """Models that are listed together; `entries` are those that are shown, `size` how many there are."""

    name: str
    size: int = 0
    unwell: int = 0
    rate: float = 0.0
    closed: bool = False
    entries: list[Entry] = field(default_factory=list)


@dataclass(frozen=True)
class Listing:
    """What is listed. `states` are the filters that there are: (what, how many, the kind)."""

    groups: tuple[Group, ...]
    states: tuple[tuple[str, int, str], ...]
    all: int
    found: int
    left: int


def arrange(entries: Sequence[Entry], view: View) -> Listing:
    """List the entries as `view` asks: work for each entry once, but for the sorting."""
    searched = [e for e in entries if _is_meant(e, view.search)]
    counts = Counter(e.condition for e in searched)
    states = [(c.word, n, c.kind) for c, n in sorted(counts.items(), key=lambda item: _severity(item[0]))]
    unwell = sum(n for _, n, kind in states if kind != "good")
    if unwell and len(states) > 1:
        states.insert(0, (ATTENTION, unwell, "bad" if any(kind == "bad" for *_, kind in states) else "busy"))
    found = [e for e in searched if _is_in(e.condition, view.state)]
    groups: dict[str, Group] = {}
    left = MOST_SHOWN if not view.whole else len(found)
    hidden = 0
    for entry in _sorted(found, view):
        name = _group_of(entry, view.group)
        group = groups.setdefault(name, Group(name, closed=name in view.closed))
        group.size += 1
        group.unwell += entry.condition.kind != "good"
        group.rate += entry.numbers.get("rate") or 0.0
        if group.closed:
            continue
        if left:
            left -= 1
            group.entries.append(entry)
        else:
            hidden += 1
    return Listing(tuple(groups.values()), tuple(states), len(entries), len(found), hidden)


def _is_meant(entry: Entry, search: str) -> bool:
    """Whether each word of the search is in the name, the version or the state."""
    text = f"{entry.name} {entry.version} {entry.condition.word}".casefold()
    return all(word in text for word in search.casefold().split())


def _is_in(condition: Condition, state: str) -> bool:
    return not state or condition.word == state or (state == ATTENTION and condition.kind != "good")


def _group_of(entry: Entry, by: str) -> str:
    return {"state": entry.condition.word, "name": entry.first_part}.get(by, "")


def _severity(condition: Condition) -> tuple[int, str]:
    return _SEVERITY.get(condition.kind, 1), condition.word


def _sorted(entries: Sequence[Entry], view: View) -> list[Entry]:
    """By group, then by the column; what has no number is last, whichever way, and equals are in the models' order."""
    column, reverse = view.sort.removeprefix("-"), view.sort.startswith("-")
    if column == "name":
        made = sorted(entries, key=lambda e: e.name.casefold(), reverse=reverse)
    elif column == "version":
        made = sorted(entries, key=lambda e: e.version.casefold(), reverse=reverse)
    elif column == "state":
        made = sorted(entries, key=lambda e: _severity(e.condition), reverse=reverse)
    else:
        sign = -1.0 if reverse else 1.0
        known = [(n, e) for e in entries if (n := e.numbers.get(column)) is not None]
        made = [e for _, e in sorted(known, key=lambda item: sign * item[0])]
        made += [e for e in entries if e.numbers.get(column) is None]
    if view.group == "state":
        made.sort(key=lambda e: _severity(e.condition))
    elif view.group:
        made.sort(key=lambda e: _group_of(e, view.group).casefold())
    return made
