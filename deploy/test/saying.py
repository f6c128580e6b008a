"""What is said while containers are tried, and how an attempt ends."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

figures: dict[str, str] = {}
left_out: list[str] = []


class Impossible(Exception):
    """Containers cannot be run here; the message says why."""


def say(text: str) -> None:
    """Print a step's heading."""
    print(f"--- {text}", flush=True)


def figure(name: str, value: str) -> None:
    """Print what was measured, and keep it for the end."""
    figures[name] = value
    print(f"    {name}: {value}", flush=True)


def not_tried(what: str) -> None:
    """Print what could not be tried here, or was replaced, and keep it for the end."""
    left_out.append(what)
    print(f"    NOT TRIED: {what}", flush=True)


def check(what: str, ok: object, detail: object = "") -> None:
    """Print what is true; raises SystemExit with `detail` where it is not."""
    if not ok:
        raise SystemExit(f"FAILED: {what} {detail}")
    print(f"    ok: {what}", flush=True)


def until(what: str, condition: Callable[[], Any], patience_s: float) -> Any:
    """Ask `condition` until it says something true, and return that; raises SystemExit after `patience_s` seconds."""
    end_s = time.monotonic() + patience_s
    while time.monotonic() < end_s:
        if found := condition():
            return found
        time.sleep(0.1)
    raise SystemExit(f"FAILED: waited {patience_s:g} s for {what}")
