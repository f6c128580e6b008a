"""Numbers of TCP ports that nobody has, for a test that must name a port before it starts what listens there."""

import os
import random
import socket

# Below the range that the kernel takes from (32768 to 60999 by default) for port 0 and for the near end of every
# connection: a number that was free a moment ago can be taken from that range by any client or server of another test.
# Above the ports that headrace, MLflow and databases have by default.
_LOWEST, _END = 12_000, 32_000
_SHARES = 16

_given: set[int] = set()


def free_port() -> int:
    """Give a number that nothing on 127.0.0.1 listens at, never the same twice in a process.

    Each pytest worker has its own sixteenth of the numbers, so two workers never give the same. Raises OSError when
    a hundred numbers in a row are taken.
    """
    share = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % _SHARES
    numbers = range(_LOWEST + share, _END, _SHARES)
    for _ in range(100):
        # By chance, and not in order: two runs at the same time have the same shares.
        number = random.SystemRandom().choice(numbers)
        if number not in _given and _is_free(number):
            _given.add(number)
            return number
    raise OSError(f"no free port on 127.0.0.1 was found from {_LOWEST} to {_END - 1} in a hundred tries")


def _is_free(number: int) -> bool:
    with socket.socket() as one:
        # As a server does it: a port that is only waiting for its last connections to end (TIME_WAIT) is free.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(("127.0.0.1", number))
        except OSError:
            return False
        return True
