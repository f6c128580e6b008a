"""How much work a call does, counted instead of timed: the same on every machine.

Counted are the calls (of Python and of C functions, wherever they are made), for those C functions that go through the
whole of what they are called on its length, and, in headrace's own functions, the lines that run and the length of
each text, list or table that a line has bound to a name: that is what was copied or made.
"""

import re
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

_OWN = "headrace_worker"
_THROUGH_ALL: dict[type, frozenset[str]] = {
    bytes: frozenset(dir(bytes)) - {"startswith", "endswith"},
    str: frozenset(dir(str)) - {"startswith", "endswith"},
    list: frozenset({"index", "count", "copy", "remove", "insert", "reverse", "sort"}),
    dict: frozenset({"copy", "update"}),
}
_SCANS = frozenset({"search", "sub", "findall", "finditer", "split"})


def work(call: Callable[[], Any]) -> int:
    """What `call` takes, in units of one call, line, byte or element.

    What a regular expression does is not seen. So one that is searched for must not repeat anything many times over:
    from each place that looks like a beginning it would look as far ahead as that.
    """
    meter = _Meter()
    sys.settrace(meter.trace)
    sys.setprofile(meter.profile)
    try:
        call()
    finally:
        sys.setprofile(None)
        sys.settrace(None)
    assert not meter.far_ahead, meter.far_ahead
    return meter.units


class _Meter:
    def __init__(self) -> None:
        self.units = 0
        self.far_ahead: set[str] = set()
        self._bound: dict[int, dict[str, Any]] = {}

    def profile(self, _frame: FrameType, event: str, arg: Any) -> None:
        if event == "call":
            self.units += 1
        elif event == "c_call":
            self.units += 1
            owner: Any = getattr(arg, "__self__", None)
            if arg.__name__ in _THROUGH_ALL.get(type(owner), ()):
                self.units += len(owner)
            elif isinstance(owner, re.Pattern) and arg.__name__ in _SCANS and _repeats(owner) > 64:
                self.far_ahead.add(repr(owner))

    def trace(self, frame: FrameType, _event: str, _arg: Any) -> Any:
        if _OWN not in frame.f_code.co_filename:
            return None
        # What a function is given is not its work; the objects are kept, so that none takes the place of another.
        self._bound[id(frame)] = dict(frame.f_locals)
        return self._trace_line

    def _trace_line(self, frame: FrameType, event: str, _arg: Any) -> Any:
        self.units += 1
        before = self._bound[id(frame)]
        for name, value in frame.f_locals.items():
            if value is not before.get(name):
                before[name] = value
                self.units += _length(value)
        if event == "return":
            del self._bound[id(frame)]
        return self._trace_line


def _repeats(pattern: re.Pattern[Any]) -> int:
    """The largest number of times that the expression wants something repeated."""
    text = pattern.pattern if isinstance(pattern.pattern, str) else pattern.pattern.decode("latin-1")
    return max(map(int, re.findall(r"\{([0-9]+)", text)), default=0)


def _length(value: Any) -> int:
    size = getattr(value, "size", None)
    if isinstance(size, int):  # an array or a table
        return size
    return len(value) if isinstance(value, (bytes, str, list, tuple, dict, set)) else 0
