"""Writes docs/metrics.md from the definitions of the metrics.

python tools/metrics_page.py [--check]
"""

from __future__ import annotations

import sys
from pathlib import Path

from headrace.telemetry.metrics import GROUPS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "metrics.md"
HEAD = """\
# Metrics

What `/metrics` on the admin port shows, in Prometheus' text format. Written by `make metrics` from
`src/headrace/telemetry/metrics.py`; a test compares the two. [Monitoring](monitoring.md) leads
from here to a dashboard and to alerts.

- All gateways and workers are added up. Counters do not go back when one of them is replaced, or when a version ends;
  what a gateway has counted since it was last asked is lost if it is killed.
- `model` is the name under `models` in the configuration, `version` what answers carry in `Headrace-Model`.
- A histogram NAME has the series `NAME_bucket{le}`, `NAME_sum` and `NAME_count`.
- No label's value comes from a client. The versions that ended are kept up to the last 32.
"""


def page() -> str:
    """The whole page."""
    parts = [HEAD]
    for title, group in GROUPS.items():
        rows = ["| metric | type | unit | labels | meaning |", "|---|---|---|---|---|"]
        for name, one in group.items():
            labels = ", ".join(f"`{label}`" for label in one.labels)
            rows.append(f"| `{name}` | {one.kind} | {one.unit} | {labels} | {one.help} |")
        parts.append(f"## {title}\n\n" + "\n".join(rows) + "\n")
    return "\n".join(parts)


def main() -> int:
    """Write the page; with --check, only say whether it is up to date."""
    text = page()
    if "--check" in sys.argv[1:]:
        return 0 if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text else 1
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
