"""From bytes to parsed JSON, within limits that keep an odd body from costing more than its answer."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

from headrace_worker.scoring.errors.refusal import Refusal

# After `_unescaped`. An unterminated string matches too: each byte is looked at once, whatever the body.
_STRING = re.compile(rb'"[^"]*(?:"|\Z)')
_NUMBER = re.compile(rb"-?[0-9][0-9.eE+-]*")
_DIGITS = re.compile(rb"[0-9]+")
_NOT_STRUCTURE = bytes(b for b in range(256) if b not in b'[]{}"')
_BRACKETS = bytes.maketrans(b"{}", b"[]")
_STEP = [1 if b in b"[" else -1 for b in range(256)]
_NEIGHBOURS = (b"],[", b"], [", b"},{", b"}, {")
_PEELED = 4
"""Levels that are taken off in one go each, from the inside; few bodies have more."""


class NotJson(Exception):
    """The body is not JSON; the environment's MLflow says it in its own words."""


def parse(body: bytes, *, decode_first: bool, max_nesting: int, max_integer_digits: int) -> Any:
    """Parse like `json.loads`; NotJson for what it refuses, Refusal (400) for what goes beyond the limits.

    `decode_first` follows the MLflow versions that decode the body as UTF-8 before they parse it; the others
    leave it to `json.loads`, which also takes UTF-16 and UTF-32. A byte order mark is taken from all.
    """
    if _may_be_deeper_than(body, max_nesting) and _deeper_than(body, max_nesting):
        raise Refusal(
            400, "BAD_REQUEST", f"The JSON body is nested too deeply: at most {max_nesting} levels are accepted."
        )
    if len(body) > max_integer_digits and _has_run_of_digits(body, max_integer_digits + 1):
        _refuse_long_integers(body, max_integer_digits)
    try:
        return json.loads(body.decode("utf-8-sig") if decode_first else body)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NotJson from error
    except ValueError:
        raise _too_many_digits(max_integer_digits) from None
    except RecursionError:
        raise Refusal(400, "BAD_REQUEST", "The JSON body is nested too deeply for this server.") from None


def _unescaped(body: bytes) -> bytes:
    """`body` without the escapes in its strings that could be taken for their end."""
    return body.replace(b"\\\\", b"").replace(b'\\"', b"")


def _may_be_deeper_than(body: bytes, max_nesting: int) -> bool:
    """Whether the number of brackets allows it: one that opens where another has just closed adds no level.

    That holds wherever the two stand, for they are both in a string or both outside of one.
    """
    brackets = body.count(b"[") + body.count(b"{")
    return brackets > max_nesting and brackets - sum(map(body.count, _NEIGHBOURS)) > max_nesting


def _deeper_than(body: bytes, max_nesting: int) -> bool:
    brackets = _STRING.sub(b"", _unescaped(body).translate(_BRACKETS, _NOT_STRUCTURE))
    for peeled in range(_PEELED):
        if not brackets:
            return peeled > max_nesting
        brackets = brackets.replace(b"[]", b"")
    return _PEELED + max(itertools.accumulate(map(_STEP.__getitem__, brackets)), default=0) > max_nesting


def _has_run_of_digits(body: bytes, length: int) -> bool:
    """Whether `length` digits stand side by side somewhere.

    Such a run covers a multiple of `length`: only what stands around these places is looked at, each byte once.
    """
    for place in range(length - 1, len(body), length):
        found = _DIGITS.match(body, place)
        if found is not None:
            before = body[place - length + 1 : place]
            if len(found.group()) + len(before) - len(before.rstrip(b"0123456789")) >= length:
                return True
    return False


def _refuse_long_integers(body: bytes, max_integer_digits: int) -> None:
    """Raise if a run of digits outside strings is an integer; fractions and exponents may be long."""
    for match in _NUMBER.finditer(_STRING.sub(b"0", _unescaped(body))):
        number = match.group()
        if len(number) > max_integer_digits and number.lstrip(b"-").isdigit():
            raise _too_many_digits(max_integer_digits)


def _too_many_digits(max_integer_digits: int) -> Refusal:
    message = f"An integer of more than {max_integer_digits} digits is not accepted. Send it as a double or as a text."
    return Refusal(400, "BAD_REQUEST", message)
