"""Verify the demo: that both news models are well, and answer what anybody would.

    python -m news.test_model_serving [--classification URL] [--sentiment URL] [--wait SECONDS]

`make demo` serves them on the ports that are the defaults here. Exit codes: 0 all is well, 1 something is wrong.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Final

from headrace.client import ClientError, connect
from headrace.client.checking import Finding, Wanted, check, wait_ready

EXAMPLES: Final = {
    "classification": (
        ("Breaking news about technology", "technology"),
        ("The team won the championship match", "sports"),
        ("Parliament votes on the new election law", "politics"),
    ),
    "sentiment": (
        ("This is wonderful news!", "positive"),
        ("A terrible, awful disaster", "negative"),
    ),
}
ADDRESSES: Final = {"classification": "http://localhost:5001", "sentiment": "http://localhost:5002"}
TIMEOUT_S: Final = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the checks and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m news.test_model_serving", description="Verify the demo.")
    for name, address in ADDRESSES.items():
        parser.add_argument(f"--{name}", default=address, metavar="URL", help=f"default: {address}")
    parser.add_argument("--wait", type=float, default=0.0, metavar="SECONDS", help="wait so long for readiness")
    chosen = vars(parser.parse_args(arguments))
    addresses = {name: str(chosen[name]) for name in ADDRESSES}
    if chosen["wait"]:
        wait_ready(list(addresses.values()), chosen["wait"], TIMEOUT_S)
    well = [verify(name, address) for name, address in addresses.items()]
    print(f"{'✓' if all(well) else '✗'} {sum(well)} of {len(well)} models are well")
    return 0 if all(well) else 1


def verify(name: str, address: str) -> bool:
    """Check one model as an operator would, then ask it what a reader would."""
    print(f"{name} at {address}")
    report = check(address, Wanted(timeout_s=TIMEOUT_S), tell)
    if not report.ok:
        return False
    texts = [text for text, _ in EXAMPLES[name]]
    try:
        with connect(address, deadline_s=TIMEOUT_S) as model:
            answers = model.predict(texts)
    except ClientError as error:
        tell(Finding("answers", ok=False, told=str(error)))
        return False
    right = [answer == wanted for answer, (_, wanted) in zip(answers, EXAMPLES[name], strict=True)]
    for ok, answer, (text, wanted) in zip(right, answers, EXAMPLES[name], strict=True):
        tell(Finding("answers", ok=ok, told=f"{text!r} is {answer}{'' if ok else f', and should be {wanted}'}"))
    return all(right)


def tell(finding: Finding) -> None:
    """Print one finding."""
    mark = {True: "✓", False: "✗", None: "·"}[finding.ok]
    print(f"  {mark} {finding.what:<12} {finding.told}")


if __name__ == "__main__":
    sys.exit(main())
