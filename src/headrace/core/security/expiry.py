"""When to warn that a certificate will expire."""

from __future__ import annotations

_DAY_S = 86_400.0
_LAST_SHARE = 0.2
_LONGEST_NOTICE_S = 21 * _DAY_S


def notice_s(begins_s: float, ends_s: float) -> float:
    """How long before its end a certificate should have been replaced: a fifth of its life, at most three weeks.

    Who renews does so when a third of the life is left (cert-manager, certbot): what is older was not renewed.
    """
    return min(max(0.0, ends_s - begins_s) * _LAST_SHARE, _LONGEST_NOTICE_S)


def trouble(begins_s: float, ends_s: float, now_s: float) -> str | None:
    """The problem with the validity of a certificate (Unix seconds); None if there is none."""
    if now_s < begins_s:
        return f"it is not valid for another {spell(begins_s - now_s)}; is this machine's clock right?"
    if now_s >= ends_s:
        return f"it expired {spell(now_s - ends_s)} ago"
    if now_s >= ends_s - notice_s(begins_s, ends_s):
        return f"it expires in {spell(ends_s - now_s)}"
    return None


def spell(seconds: float) -> str:
    """A duration in words."""
    for unit, name in ((_DAY_S, "day"), (3600.0, "hour"), (60.0, "minute")):
        count = int(seconds / unit)
        if count:
            return f"{count} {name}{'s' if count > 1 else ''}"
    return "less than a minute"
