"""``python -m headrace.gateway --control-fd N [--index I]``: started by the supervisor, not by hand."""

from __future__ import annotations

import argparse
import sys

from headrace.config.secrecy import make_undumpable
from headrace.gateway.process import serve


def main() -> int:
    """Parse the command line (`--index` only tells processes apart in ``ps``) and serve."""
    make_undumpable()
    parser = argparse.ArgumentParser(prog="python -m headrace.gateway", description=__doc__)
    parser.add_argument("--control-fd", type=int, required=True)
    parser.add_argument("--index", type=int, default=0)
    return serve(parser.parse_args().control_fd)


if __name__ == "__main__":
    sys.exit(main())
