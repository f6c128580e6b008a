"""CSV bodies that may share a predict call: the plainest ones, where the signature says the type of each column.

With a type for each column pandas reads each value by itself, whatever stands in the other rows. What is left is that a
line is a row: no quotes, no empty lines, as many fields in each as names in the header. Pure.
"""

from __future__ import annotations

from typing import NamedTuple

from headrace_worker.scoring import plan as plans

_TYPES = frozenset((plans.DOUBLE, plans.FLOAT, plans.INTEGER, plans.LONG, plans.BOOLEAN, plans.STRING))
_SPECIAL = ('"', "\r", "\0", "\ufeff")


class PlainCsv(NamedTuple):
    """A header, taken apart, the lines below it, and the letter of each column's type."""

    names: tuple[str, ...]
    letters: tuple[str, ...]
    lines: list[str]


def read(body: bytes | memoryview, plan: plans.Plan) -> PlainCsv | None:
    """The body of one request; None where it is not of the plainest form, or the plan does not know all columns."""
    if plan.kind != plans.COLUMNS or not plan.by_name:
        return None
    try:
        text = str(body, "utf-8")
    except UnicodeDecodeError:
        return None
    if any(special in text for special in _SPECIAL):
        return None
    header, *lines = text[:-1].split("\n") if text.endswith("\n") else text.split("\n")
    names = tuple(header.split(","))
    letters = tuple([plan.named.get(name) or "" for name in names])
    if not _TYPES.issuperset(letters) or len(set(names)) != len(names) or not plan.required.issubset(names):
        return None
    if "" in names or not lines or {line.count(",") for line in lines} != {len(names) - 1}:
        return None
    if any(not line or line[0].isspace() for line in lines):  # pandas leaves out lines that are blank
        return None
    return PlainCsv(names, letters, lines)


def text(names: tuple[str, ...], lines: list[str]) -> str:
    """The CSV of a header and lines."""
    return "\n".join([",".join(names), *lines, ""])
