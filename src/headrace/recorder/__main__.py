"""``python -m headrace.recorder --control-fd N``: started by the supervisor, not by hand."""

from __future__ import annotations

import argparse
import sys

from headrace.config.secrecy import make_undumpable
from headrace.recorder.process import serve


def main() -> int:
    """Parse the command line and serve."""
    make_undumpable()
    parser = argparse.ArgumentParser(prog="python -m headrace.recorder", description=__doc__)
    parser.add_argument("--control-fd", type=int, required=True)
    return serve(parser.parse_args().control_fd)


if __name__ == "__main__":
    sys.exit(main())
