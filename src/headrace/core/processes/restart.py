"""When a process that has ended may be started again: exponential back-off with jitter, and a limit of tries."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class RestartPolicy:
    """`first_s` doubles with each quick death up to `most_s`; a life of `healthy_s` forgives all earlier deaths.

    `give_up_after` deaths in a row without a healthy life end it for good; None never gives up.
    """

    first_s: float = 0.25
    most_s: float = 30.0
    healthy_s: float = 30.0
    give_up_after: int | None = None


@dataclass
class Restarts:
    """The deaths of one process slot, as the policy counts them."""

    policy: RestartPolicy
    deaths: int = 0
    total: int = 0

    def died(self, lived_s: float, chance: float) -> float | None:
        """Count one death after a life of `lived_s` seconds; return the seconds to wait, or None: do not restart.

        `chance` is a number in [0, 1) that spreads restarts out: the wait is between half and all of the back-off.
        The first death after a healthy life costs no wait at all.
        """
        self.total += 1
        if lived_s >= self.policy.healthy_s:
            self.deaths = 0
            return 0.0
        self.deaths += 1
        if self.policy.give_up_after is not None and self.deaths >= self.policy.give_up_after:
            return None
        back_off_s = min(self.policy.most_s, self.policy.first_s * 2 ** min(self.deaths - 1, 32))
        return float(back_off_s * (0.5 + chance / 2))
